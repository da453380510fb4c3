import Foundation
import Testing

/// The OpenBao server of the tests, by curl.
struct OpenBaoServer {
    let address: String
    let authorities: String
    let root: String

    init() throws {
        let environment = ProcessInfo.processInfo.environment
        address = try #require(environment["HKMS_TEST_OPENBAO_TLS_ADDRESS"], "no OpenBao server: run scripts/test")
        root = try #require(environment["HKMS_TEST_OPENBAO_TOKEN"])
        authorities = try #require(environment["HKMS_TEST_OPENBAO_CA"])
    }

    /// - Parameters:
    ///   - token: nil for root's.
    ///   - wrapSeconds: where the answer is to come wrapped.
    @discardableResult
    func call(
        _ method: String, _ path: String, _ body: String? = nil, token: String? = nil, wrapSeconds: Int? = nil,
        mayFail: Bool = false
    ) throws -> String {
        var arguments = [
            mayFail ? "-s" : "-sf", "--noproxy", "*", "--cacert", authorities, "-X", method, "-H",
            "X-Vault-Token: \(token ?? root)",
        ]
        if let wrapSeconds { arguments += ["-H", "X-Vault-Wrap-TTL: \(wrapSeconds)"] }
        if let body { arguments += ["-d", body] }
        let output = try Programs.run("/usr/bin/curl", arguments + ["\(address)/v1/\(path)"])
        try #require(mayFail || output.status == 0, "\(method) \(path): \(output.status) \(output.out)\(output.error)")
        return output.out
    }

    /// Writes a policy of docs/kms/policies as it is given there, but for names.
    /// - Returns: its name at the server.
    func load(_ name: String, _ replacements: [String: String] = [:]) throws -> String {
        let file = Programs.repository.appendingPathComponent("docs/kms/policies/\(name).hcl")
        var text = try String(contentsOf: file, encoding: .utf8)
        for (old, new) in replacements { text = text.replacingOccurrences(of: old, with: new) }
        let own = "\(name)-\(UUID().uuidString.lowercased().prefix(8))"
        let body = try JSONEncoder().encode(["policy": text])
        try call("PUT", "sys/policies/acl/\(own)", String(decoding: body, as: UTF8.self))
        return own
    }
}
