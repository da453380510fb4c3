import Foundation
import Testing

/// Who may do everything at the real OpenBao server.
struct OpenBaoAdministrator {
    private let address: String
    private let token: String

    init() throws {
        let environment = ProcessInfo.processInfo.environment
        address = try #require(environment["HKMS_TEST_OPENBAO_ADDRESS"], "no OpenBao server: run scripts/test")
        token = try #require(environment["HKMS_TEST_OPENBAO_TOKEN"])
    }

    /// A token that may do what this policy says, and what the policy `default` does.
    func token(policy: String) throws -> String {
        let name = "doctor-\(UUID().uuidString.lowercased())"
        _ = try call("PUT", "sys/policies/acl/\(name)", ["policy": policy])
        let answer = try call("POST", "auth/token/create", ["policies": [name], "ttl": "10m"])
        let auth = try #require(answer["auth"] as? [String: Any])
        return try #require(auth["client_token"] as? String)
    }

    func call(_ method: String, _ path: String, _ body: [String: Any]) throws -> [String: Any] {
        let json = try JSONSerialization.data(withJSONObject: body)
        // By standard input: no process list shows the token.
        let output = try Programs.run(
            "/usr/bin/curl",
            [
                "-s", "--fail-with-body", "--noproxy", "*", "--max-time", "10", "--config", "-", "-X", method,
                "--data", String(decoding: json, as: UTF8.self), "\(address)/v1/\(path)",
            ], input: "header = \"X-Vault-Token: \(token)\"\n")
        try #require(output.status == 0, "\(path): \(output.out)")
        guard !output.out.isEmpty else { return [:] }
        return try #require(try JSONSerialization.jsonObject(with: Data(output.out.utf8)) as? [String: Any])
    }
}

extension Installation {
    /// The file that the configuration names.
    func openBaoTokenFile() throws -> URL {
        let text = try String(contentsOf: folder.appendingPathComponent("hkms.yaml"), encoding: .utf8)
        let line = try #require(text.split(separator: "\n").first { $0.contains("tokenFile:") })
        let path = line.split(separator: ":", maxSplits: 1)[1].trimmingCharacters(in: .whitespaces.union(["\""]))
        return path.hasPrefix("/") ? URL(fileURLWithPath: path) : folder.appendingPathComponent(path)
    }

    func replaceOpenBaoToken(by token: String) throws {
        let file = folder.appendingPathComponent("kms.token")
        try Data((token + "\n").utf8).write(to: file)
        try FileManager.default.setAttributes([.posixPermissions: 0o600], ofItemAtPath: file.path)
        let configuration = folder.appendingPathComponent("hkms.yaml")
        let text = try String(contentsOf: configuration, encoding: .utf8)
        let lines = text.split(separator: "\n", omittingEmptySubsequences: false).map { line in
            line.contains("tokenFile:") ? line.prefix { $0 == " " } + "tokenFile: \(file.path)" : String(line)
        }
        try Data(lines.joined(separator: "\n").utf8).write(to: configuration)
    }
}
