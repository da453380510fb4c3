import Foundation
import Testing

extension OpenBaoServer {
    /// A token that may do what this policy says, and what the policy `default` does.
    func token(policy: String) throws -> String {
        let name = "doctor-\(UUID().uuidString.lowercased())"
        let body = try JSONEncoder().encode(["policy": policy])
        try call("PUT", "sys/policies/acl/\(name)", String(decoding: body, as: UTF8.self))
        struct Answer: Decodable {
            struct Auth: Decodable {
                let client_token: String
            }
            let auth: Auth
        }
        let answer = try call("POST", "auth/token/create", #"{"policies": ["\#(name)"], "ttl": "10m"}"#)
        return try JSONDecoder().decode(Answer.self, from: Data(answer.utf8)).auth.client_token
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
