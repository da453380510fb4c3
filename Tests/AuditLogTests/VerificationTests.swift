import Attestation
import AuditLog
import Foundation
import Testing

@Suite("Verification of an audit log") struct VerificationTests {
    @Test func `a good log verifies`() async throws {
        let bench = try Bench()
        let head = try await bench.write(5)
        let report = try bench.verify(expecting: [head])
        #expect(report.head == head && report.first == 1 && report.files == 1)
        #expect(report.lines == head.sequence && report.operations == 5 && report.checkpoints == 6)
        #expect(report.denied == 0 && report.recoveries == 0 && report.installation == "test")
        #expect(report.keys == [bench.key.verificationKey] && report.isKeyGiven)
        #expect(try !bench.verify(trusted: []).isKeyGiven)
        #expect(AuditHead("\(head)") == head)
        for text in ["", "1", "1:", "01:\(head.digest)", "-1:\(head.digest)", "1:\(head.digest) "] {
            #expect(AuditHead(text) == nil)
        }
    }

    @Test func `each byte that is altered is found`() async throws {
        let bench = try Bench()
        try await bench.write(2)
        let name = try bench.names()[0]
        let original = try bench.read(name)
        for index in original.indices {
            let mask = [0x01, 0x20, 0x80][index % 3] as UInt8
            var bytes = original
            bytes[index] ^= mask
            try bench.replace(name, bytes)
            #expect(bench.fault() != nil, "byte \(index) with \(mask)")
        }
        try bench.replace(name, original)
        #expect(bench.fault() == nil)
    }

    @Test func `each byte that is removed or put in is found`() async throws {
        let bench = try Bench()
        try await bench.write(1)
        let name = try bench.names()[0]
        let original = try bench.read(name)
        for index in original.indices {
            let changed =
                index % 2 == 0
                ? original[..<index] + original[(index + 1)...] : original[..<index] + [0x61] + original[index...]
            try bench.replace(name, changed)
            #expect(bench.fault() != nil, "at byte \(index)")
        }
    }

    @Test func `lines that are dropped, repeated or swapped are found, with their place`() async throws {
        let bench = try Bench()
        try await bench.write(4)
        let name = try bench.names()[0]
        let lines = try bench.lines(name)
        func check(_ changed: [[UInt8]], _ kinds: [AuditFault.Kind], line: Int, _ note: Comment) throws {
            try bench.replace(name, changed.joined())
            do throws(AuditFault) {
                _ = try bench.verify()
                Issue.record("not found: \(note.rawValue)")
            } catch {
                #expect(kinds.contains(error.kind) && error.line == line && error.file.hasSuffix(name), note)
            }
        }
        for index in lines.indices {
            var changed = lines
            changed.remove(at: index)
            if index == lines.count - 1 {
                try check(changed, [.unsigned], line: index, "the last is dropped")
            } else {
                try check(changed, [.malformed, .sequence], line: index + 1, "\(index) is dropped")
            }
            try check(
                Array(lines[...index]) + Array(lines[index...]), [.sequence], line: index + 2, "\(index) is repeated")
            guard index + 1 < lines.count else { continue }
            changed = lines
            changed.swapAt(index, index + 1)
            try check(changed, [.malformed, .sequence], line: index + 1, "\(index) and the next are swapped")
        }
    }

    @Test func `every cut is found, at a checkpoint by a head that was kept`() async throws {
        let bench = try Bench()
        let head = try await bench.write(2)
        let name = try bench.names()[0]
        let original = try bench.read(name)
        var ends: Set<Int> = []
        var offset = 0
        for line in try bench.lines(name) {
            offset += line.count
            if case .checkpoint = try AuditLine(parsing: line).content { ends.insert(offset) }
        }
        #expect(ends.count == 3)
        let counts = stride(from: 0, to: original.count, by: 5) + ends.flatMap { [$0 - 1, $0] }
        for count in counts where count < original.count {
            try bench.replace(name, original[..<count])
            // Nobody can see it from the log alone.
            #expect((bench.fault() == nil) == ends.contains(count), "\(count)")
            #expect(bench.fault(expecting: [head]) != nil, "\(count)")
        }
    }

    @Test func `a log that was written anew is found by the key, and by a head`() async throws {
        let bench = try Bench()
        let head = try await bench.write(3)
        for name in try bench.names() { try FileManager.default.removeItem(atPath: bench.path(name)) }
        let forged = try bench.open(key: try Bench.key(9))
        for number in 0..<5 { try await forged.append(Bench.record(number)) }
        await forged.shutdown()
        #expect(bench.fault() == .unknownKey)
        #expect(bench.fault(trusted: []) == nil)
        #expect(bench.fault(trusted: [], expecting: [head]) == .head)
    }

    @Test func `a chain made anew needs the key`() async throws {
        let bench = try Bench()
        try await bench.write(2)
        let name = try bench.names()[0]
        var previous = [UInt8](repeating: 0x30, count: 64)
        var bytes: [UInt8] = []
        for line in try bench.lines(name) {
            var text = String(decoding: line, as: UTF8.self).replacingOccurrences(of: "alice", with: "carol")
            let start = try #require(text.firstRange(of: "\"prev\":\"")).upperBound
            text.replaceSubrange(
                start..<text.index(start, offsetBy: 64), with: String(decoding: previous, as: UTF8.self))
            previous = Array(Digest(of: text.utf8).hex.utf8)
            bytes += text.utf8
        }
        try bench.replace(name, bytes)
        #expect(bench.fault() == .signature)
    }

    @Test func `a signature counts for its installation alone`() async throws {
        let bench = try Bench()
        try await bench.write(1)
        let name = try bench.names()[0]
        let text = String(decoding: try bench.read(name), as: UTF8.self)
        try bench.replace(
            name, text.replacingOccurrences(of: "\"installation\":\"test\"", with: "\"installation\":\"tesu\"").utf8)
        // Its first line, and with it the chain, is another.
        #expect(bench.fault() == .chain)
    }

    @Test func `files that are removed, swapped or renamed are found`() async throws {
        let bench = try Bench()
        let head = try await bench.write(12, fileBytes: 2000)
        let names = try bench.names()
        #expect(names.count >= 4)
        #expect(bench.fault(expecting: [head]) == nil)
        let contents = try names.map(bench.read)
        func restore() throws {
            for (name, bytes) in zip(names, contents) { try bench.replace(name, bytes) }
        }
        for (index, name) in names.enumerated() {
            try FileManager.default.removeItem(atPath: bench.path(name))
            if index == names.count - 1 {
                // The log then ends at a checkpoint.
                #expect(bench.fault() == nil)
                #expect(bench.fault(expecting: [head]) == .head)
            } else {
                #expect(bench.fault() == .sequence, "\(name)")
            }
            try restore()
        }
        try bench.replace(names[1], contents[2])
        try bench.replace(names[2], contents[1])
        #expect(bench.fault() == .sequence)
        try restore()
        try FileManager.default.moveItem(atPath: bench.path(names[3]), toPath: bench.path("audit-9999999999999999.log"))
        #expect(bench.fault() == .sequence)
        try FileManager.default.moveItem(atPath: bench.path("audit-9999999999999999.log"), toPath: bench.path(names[3]))
        try bench.replace(names[2], [])
        #expect(bench.fault() == .missing)
        try restore()
        // Archived files may be missing, if the head before the rest is known.
        let kept = AuditHead(
            sequence: try bench.lines(names[0]).count, digest: Digest(of: try #require(bench.lines(names[0]).last)))
        try FileManager.default.removeItem(atPath: bench.path(names[0]))
        #expect(bench.fault() == .sequence)
        #expect(bench.fault(after: kept, expecting: [kept, head]) == nil)
        #expect(bench.fault(after: AuditHead(sequence: kept.sequence, digest: head.digest)) == .chain)
    }

    @Test func `what is no log is refused`() throws {
        let bench = try Bench()
        #expect(bench.fault() == .unreadable)
        try FileManager.default.createDirectory(atPath: bench.folder, withIntermediateDirectories: true)
        #expect(bench.fault() == .missing)
        try bench.replace("audit-0000000000000001.log", [UInt8](repeating: 0x61, count: 1 << 20))
        #expect(bench.fault() == .malformed)
    }

    @Test func `sha256sum and openssl come to the same result by hand`() async throws {
        let bench = try Bench()
        try await bench.write(2)
        // The commands of docs/audit.md.
        let script = #"""
            set -eu
            for n in 2 3 4; do
              h=$(sed -n "$((n - 1))p" "$F" | sha256sum | cut -d' ' -f1)
              sed -n "${n}p" "$F" | grep -q "\"prev\":\"$h\"" || exit 3
            done
            line=$(sed -n 4p "$F")
            field() { printf '%s' "$line" | sed "s/.*\"$1\":\"\{0,1\}\([^\",]*\).*/\1/"; }
            printf '%s\n' 'hkms audit checkpoint v1' test "$(field seq)" "$(field prev)" "$(field time)" >message
            field signature | xxd -r -p >signature
            (printf '302a300506032b6570032100'; sed -n 's/.*"type":"file".*"key":"\([0-9a-f]*\)".*/\1/p' "$F") |
              tr -d '\n' | xxd -r -p >key.der
            openssl pkeyutl -verify -pubin -keyform DER -inkey key.der -rawin -in message -sigfile signature
            """#
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/bin/sh")
        process.arguments = ["-c", script]
        process.environment = ProcessInfo.processInfo.environment.merging(
            ["F": bench.path(try bench.names()[0])]) { $1 }
        process.currentDirectoryURL = URL(fileURLWithPath: bench.folder)
        let out = Pipe()
        process.standardOutput = out
        try process.run()
        process.waitUntilExit()
        let text = String(decoding: out.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
        #expect(process.terminationStatus == 0 && text.contains("Signature Verified Successfully"))
    }
}
