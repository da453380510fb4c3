import Crypto
import Foundation
import Testing

/// One run of `hkms doctor`.
struct Doctor {
    struct Check {
        let outcome: String
        let detail: String
        let fix: String
    }

    let status: Int32
    let checks: [String: Check]
    /// Standard output and standard error.
    let text: String

    /// - Parameter folder: with an hkms.yaml.
    init(_ folder: URL, _ options: String...) throws {
        let config = folder.appendingPathComponent("hkms.yaml").path
        let output = try Programs.run(
            Programs.path("hkms"), ["doctor", "--config", config, "--json"] + options, seconds: 300)
        status = output.status
        text = output.out + output.error
        struct Printed: Decodable {
            struct Check: Decodable {
                let name: String
                let outcome: String
                let detail: String
                let fix: String?
                let milliseconds: Double
            }
            let ok: Bool
            let counts: [String: Int]
            let checks: [Check]
        }
        let printed = try JSONDecoder().decode(Printed.self, from: Data(output.out.utf8))
        checks = Dictionary(
            uniqueKeysWithValues: printed.checks.map {
                ($0.name, Check(outcome: $0.outcome, detail: $0.detail, fix: $0.fix ?? ""))
            })
        let counted = Dictionary(grouping: printed.checks, by: \.outcome).mapValues(\.count)
        #expect(counted == printed.counts.filter { $0.value > 0 })
        #expect(printed.ok == (counted["failed"] == nil))
    }

    func names(_ outcome: String) -> Set<String> { Set(checks.filter { $0.value.outcome == outcome }.keys) }
}

/// Every file of a folder with the digest of what is in it.
func contents(of folder: URL) throws -> [String: String] {
    let found = FileManager.default.enumerator(atPath: folder.path)?.compactMap { $0 as? String } ?? []
    var contents: [String: String] = [:]
    for name in found {
        let file = folder.appendingPathComponent(name)
        var isFolder: ObjCBool = false
        _ = FileManager.default.fileExists(atPath: file.path, isDirectory: &isFolder)
        let mode = try FileManager.default.attributesOfItem(atPath: file.path)[.posixPermissions] as? Int
        let digest = isFolder.boolValue ? "folder" : "\(SHA256.hash(data: try Data(contentsOf: file)))"
        contents[name] = "\(digest) \(mode ?? 0)"
    }
    return contents
}
