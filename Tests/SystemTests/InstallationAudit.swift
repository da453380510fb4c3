import Foundation
import Testing

/// A line of the audit log of an installation, as far as tests look at it.
struct RecordedOperation {
    let members: [String: Any]

    var action: String? { members["action"] as? String }
    var decision: String? { members["decision"] as? String }
    var rule: String { members["rule"] as? String ?? "" }
    var outcome: String? { members["outcome"] as? String }
    var subject: String? { (members["who"] as? [String: Any])?["subject"] as? String }
    var keySet: String? { (members["resource"] as? [String: Any])?["keySet"] as? String }
    var digests: [String] { (members["ciphertexts"] as? [String: Any])?["digests"] as? [String] ?? [] }
    func parameter(_ name: String) -> String? { (members["parameters"] as? [String: Any])?[name] as? String }
}

extension Installation {
    var configurationFile: URL { folder.appendingPathComponent("hkms.yaml") }
    var policyFile: URL { folder.appendingPathComponent("policy.yaml") }

    /// Every operation on record, in order.
    func recordedOperations(in directory: String = "audit") throws -> [RecordedOperation] {
        let log = folder.appendingPathComponent(directory)
        let files = try FileManager.default.contentsOfDirectory(atPath: log.path).filter { $0.hasSuffix(".log") }
            .sorted()
        return try files.flatMap { name -> [RecordedOperation] in
            // What is being written may be half a line.
            let text = try String(contentsOf: log.appendingPathComponent(name), encoding: .utf8)
            return try text.prefix(upTo: text.lastIndex(of: "\n") ?? text.startIndex).split(separator: "\n")
                .compactMap { line -> RecordedOperation? in
                    let object = try JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: Any]
                    guard let object, object["type"] as? String == "operation" else { return nil }
                    return RecordedOperation(members: object)
                }
        }
    }

    /// Changes a file of the configuration; the gateway is not told.
    func edit(_ file: URL, _ body: (String) throws -> String) throws {
        let text = try String(contentsOf: file, encoding: .utf8)
        try Data(body(text).utf8).write(to: file, options: .atomic)
    }

    /// What `/readyz` answers.
    func readiness() throws -> (status: String, body: String) {
        let output = try curl("-w", "%{http_code}", gatewayURL + "/readyz")
        return (String(output.out.suffix(3)), String(output.out.dropLast(3)))
    }
}
