import Foundation
import Testing

/// docs/threat-model.md is believed only as far as its tests go: those that it names exist.
@Suite struct ThreatModelTests {
    /// Files of tests by their path below Tests/, without the suffix.
    private static func sources() throws -> [String: String] {
        let folder = Programs.repository.appendingPathComponent("Tests")
        let names = try #require(FileManager.default.enumerator(atPath: folder.path)).compactMap { $0 as? String }
        var sources: [String: String] = [:]
        for name in names where name.hasSuffix(".swift") {
            sources[String(name.dropLast(6))] = try String(
                contentsOf: folder.appendingPathComponent(name), encoding: .utf8)
        }
        return sources
    }

    /// The last cell of each row of the table of threats.
    private static func proofs() throws -> [Substring] {
        let file = Programs.repository.appendingPathComponent("docs/threat-model.md")
        let text = try String(contentsOf: file, encoding: .utf8)
        let section = try #require(text.components(separatedBy: "\n## Threats\n").dropFirst().first)
        let table = section.components(separatedBy: "\n## ")[0].split(separator: "\n").filter { $0.hasPrefix("|") }
        return try table.dropFirst(2).map { row in
            let cells = row.split(separator: "|", omittingEmptySubsequences: false)
            try #require(cells.count == 5, "\(row)")
            return cells[3]
        }
    }

    @Test("every file of tests, and every test, that the threat model names exists")
    func names() throws {
        let sources = try Self.sources()
        // A name that was written in full once stands for the same file later.
        var known: [String: String] = [:]
        func path(_ name: String) -> String? {
            if sources[name] != nil {
                known[String(name.split(separator: "/").last ?? "")] = name
                return name
            }
            let paths = sources.keys.filter { $0.hasSuffix("/\(name)") }
            return known[name] ?? (paths.count == 1 ? paths[0] : nil)
        }
        var count = 0
        for proof in try Self.proofs() {
            var named: [String] = []
            for match in proof.matches(of: /`([^`]+)`/) {
                let name = String(match.1)
                count += 1
                if let file = path(name).flatMap({ sources[$0] }) {
                    named.append(file)
                } else if let file = path(String(name.prefix { $0 != "." })).flatMap({ sources[$0] }) {
                    let function = name.split(separator: ".").last ?? ""
                    #expect(file.contains("func \(function)("), "\(name)")
                } else if !Self.exists(name) {
                    // A function in one of the files before it.
                    #expect(named.contains { $0.contains("func \(name)(") }, "there is no \(name)")
                }
            }
            for match in proof.matches(of: /"([^"]+)"/) {
                count += 1
                #expect(named.contains { $0.contains("\"\(match.1)\"") }, "there is no test \(match.0)")
            }
        }
        // Else the table was not read.
        #expect(count > 60)
    }

    /// A folder of tests, or a script.
    private static func exists(_ name: String) -> Bool {
        ["Tests/\(name)", name].contains {
            FileManager.default.fileExists(atPath: Programs.repository.appendingPathComponent($0).path)
        }
    }
}
