import Foundation
import Testing

/// `hkms audit` on logs that a program wrote, whole and spoilt.
@Suite struct AuditCommandTests {
    /// Public half of the key that audit-log-subject signs with.
    private static let key = "ea4a6c63e29c520abef5507b132ec5f9954776aebebe7b92421eea691446d22c"

    private func hkms(_ arguments: String...) throws -> Programs.Output {
        try Programs.run(Programs.path("hkms"), ["audit"] + arguments)
    }

    /// A folder with a log of 40 records of two subjects.
    private func withLog(_ body: (_ folder: String, _ file: URL) throws -> Void) throws {
        let folder = FileManager.default.temporaryDirectory.appendingPathComponent("hkms-audit-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        let log = folder.appendingPathComponent("audit")
        let made = try Programs.run(Programs.path("audit-log-subject"), [log.path, "2", "40"])
        #expect(made.status == 0, "\(made.error)")
        try body(log.path, log.appendingPathComponent("audit-0000000000000001.log"))
    }

    @Test("a good log: verify, head, show")
    func good() throws {
        try withLog { folder, _ in
            let verified = try hkms("verify", "--key", Self.key, folder)
            #expect(verified.status == 0 && verified.out.contains("40, 0 denied") && verified.error.isEmpty)
            let unkeyed = try hkms("verify", folder)
            #expect(unkeyed.status == 0 && unkeyed.error.contains("no key was given"))
            let head = try hkms("head", "--key", Self.key, folder).out.trimmingCharacters(in: .whitespacesAndNewlines)
            #expect(verified.out.contains(head))
            #expect(try hkms("verify", "--key", Self.key, "--expect-head", head, folder).status == 0)
            let json = try hkms("verify", "--key", Self.key, "--json", folder)
            let printed = try JSONSerialization.jsonObject(with: Data(json.out.utf8)) as? [String: Any]
            #expect(printed?["ok"] as? Bool == true && printed?["operations"] as? Int == 40)
            #expect(printed?["head"] as? String == head && printed?["keyGiven"] as? Bool == true)
            let shown = try hkms("show", "--key", Self.key, "--who", "task-1", "--last", "5", folder)
            let rows = shown.out.split(separator: "\n")
            #expect(rows.count == 6 && rows.dropFirst().allSatisfy { $0.contains("task-1") && $0.contains("allowed") })
            #expect(
                try hkms("show", "--key", Self.key, "--since", "2999-01-01", folder).out.split(separator: "\n").count
                    == 1)
            #expect(try hkms("show", "--key", Self.key, "--denied", folder).out.split(separator: "\n").count == 1)
            let config = URL(fileURLWithPath: folder).deletingLastPathComponent().appendingPathComponent("hkms.yaml")
            try Data("audit: {publicKeys: [\"\(Self.key)\"]}\nkms: {provider: x}\n".utf8).write(to: config)
            let configured = try hkms("verify", "--config", config.path)
            #expect(configured.status == 0 && configured.error.isEmpty, "\(configured.error)")
        }
    }

    @Test("one flipped byte, one cut tail, another key: exit code 1, with file and line")
    func spoilt() throws {
        try withLog { folder, file in
            let original = try Data(contentsOf: file)
            let head = try hkms("head", "--key", Self.key, folder).out.trimmingCharacters(in: .whitespacesAndNewlines)
            var flipped = original
            let place = try #require(original.range(of: Data("\"subject\":\"task-1\"".utf8))).upperBound - 2
            flipped[place] ^= 1
            try flipped.write(to: file)
            let line = original[..<place].count { $0 == 10 } + 1
            let changed = try hkms("verify", "--key", Self.key, folder)
            #expect(changed.status == 1 && changed.error.contains("\(file.path):\(line + 1): does not follow"))
            let json = try hkms("verify", "--key", Self.key, "--json", folder)
            let printed = try JSONSerialization.jsonObject(with: Data(json.out.utf8)) as? [String: Any]
            let fault = printed?["fault"] as? [String: Any]
            #expect(json.status == 1 && printed?["ok"] as? Bool == false)
            #expect(fault?["line"] as? Int == line + 1 && fault?["kind"] as? String == "chain")

            try original.dropLast(100).write(to: file)
            #expect(try hkms("verify", "--key", Self.key, folder).status == 1)
            // Up to an earlier checkpoint: good by itself, and not what was there.
            let text = String(decoding: original, as: UTF8.self)
            let lines = text.split(separator: "\n").map { $0 + "\n" }
            let last = try #require(lines.dropLast().lastIndex { $0.contains("\"type\":\"checkpoint\"") })
            try Data(lines[...last].joined().utf8).write(to: file)
            #expect(try hkms("verify", "--key", Self.key, folder).status == 0)
            let cut = try hkms("verify", "--key", Self.key, "--expect-head", head, folder)
            #expect(cut.status == 1 && cut.error.contains("its end is cut off"))

            try original.write(to: file)
            let other = try hkms("verify", "--key", String(Self.key.reversed()), folder)
            #expect(other.status != 0)
            for wrong in [["--key", "xyz"], ["--expect-head", "1"], ["--after", "1:ab"]] {
                #expect(try Programs.run(Programs.path("hkms"), ["audit", "verify", folder] + wrong).status == 64)
            }
            #expect(try hkms("verify").status == 64)
            #expect(try hkms("verify", folder + "/none").status == 1)
        }
    }
}
