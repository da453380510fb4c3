import Attestation
import AuditLog
import Foundation
import Testing

@Suite("Recovery of an audit log") struct RecoveryTests {
    /// The ends of a file's batches, in bytes.
    private func ends(_ bench: Bench, _ name: String) throws -> [Int] {
        var ends: [Int] = []
        var offset = 0
        for line in try bench.lines(name) {
            offset += line.count
            if case .checkpoint = try AuditLine(parsing: line).content { ends.append(offset) }
        }
        return ends
    }

    @Test func `a batch cut off anywhere is set aside, and the log says so`() async throws {
        let source = try Bench()
        try await source.write(2)
        let name = try source.names()[0]
        let original = try source.read(name)
        let ends = try ends(source, name)
        for count in stride(from: 0, to: original.count, by: 31) + ends.map({ $0 - 1 }) + ends.map({ $0 + 1 }) {
            guard count < original.count else { continue }
            let bench = try Bench()
            try FileManager.default.createDirectory(atPath: bench.folder, withIntermediateDirectories: true)
            try bench.replace(name, original[..<count])
            let trail = try bench.open()
            try await trail.append(Bench.record(9))
            await trail.shutdown()
            let kept = ends.last { $0 <= count } ?? 0
            let note: Comment = "cut at \(count), acknowledged up to \(kept)"
            let report = try bench.verify()
            #expect(try bench.read(name).starts(with: original[..<kept]), note)
            #expect(report.operations == max(0, ends.filter { $0 <= count }.count - 1) + 1, note)
            let torn = try bench.torn()
            #expect(torn.count == (kept == count ? 0 : 1) && report.recoveries == torn.count, note)
            guard let file = torn.first else { continue }
            #expect(try bench.read(file) == Array(original[kept..<count]), note)
            var cut: AuditLine.Recovery.Cut?
            _ = try bench.verify { line in
                if case .recovery(let recovery) = line.content { cut = recovery.cut }
            }
            #expect(cut?.file == file && cut?.bytes == count - kept, note)
            #expect(cut?.digest == Digest(of: original[kept..<count]), note)
        }
    }

    @Test func `a new file whose first batch is cut off gives way to the one before`() async throws {
        let source = try Bench()
        try await source.write(3, fileBytes: 1)
        let names = try source.names()
        let last = try source.read(names[names.count - 1])
        for count in [0, 1, 100, last.count / 2, last.count - 1] {
            let bench = try Bench()
            try FileManager.default.createDirectory(atPath: bench.folder, withIntermediateDirectories: true)
            for name in names.dropLast() { try bench.replace(name, source.read(name)) }
            try bench.replace(names[names.count - 1], last[..<count])
            let trail = try bench.open()
            try await trail.append(Bench.record(9))
            await trail.shutdown()
            #expect(try bench.numbers() == [0, 1, 9], "\(count)")
            #expect(try bench.verify().recoveries == (count == 0 ? 0 : 1))
        }
    }

    @Test func `rubbish behind the end is set aside, lines that nobody signed too`() async throws {
        for rubbish in [
            [UInt8](repeating: 0, count: 5000), Array("x\ny\n".utf8), [UInt8](repeating: 0x41, count: 1 << 18),
        ] {
            let bench = try Bench()
            try await bench.write(1)
            let name = try bench.names()[0]
            try bench.replace(name, bench.read(name) + rubbish)
            try await bench.write(1)
            #expect(try bench.verify().recoveries == 1 && bench.read(bench.torn()[0]) == rubbish)
        }
        // A forged record in the right chain, written while the server was down.
        let bench = try Bench()
        let head = try await bench.write(1)
        let forger = try Bench()
        let forged = try await { () async throws -> [UInt8] in
            try await forger.write(2)
            let lines = try forger.lines(forger.names()[0])
            var text = String(decoding: lines[4], as: UTF8.self)
            let start = try #require(text.firstRange(of: "\"prev\":\"")).upperBound
            text.replaceSubrange(start..<text.index(start, offsetBy: 64), with: head.digest.hex)
            return Array(text.utf8)
        }()
        let name = try bench.names()[0]
        try bench.replace(name, bench.read(name) + forged)
        #expect(bench.fault() == .unsigned)
        try await bench.write(1)
        #expect(try bench.numbers() == [0, 0] && bench.torn().count == 1)
    }

    @Test func `damage in front of a good checkpoint is no crash: the log is left as it is`() async throws {
        let bench = try Bench()
        try await bench.write(3)
        let name = try bench.names()[0]
        let original = try bench.read(name)
        let lastCheckpoint = try ends(bench, name).dropLast().last ?? 0
        for index in stride(from: 0, to: original.count - 400, by: 41) {
            var bytes = original
            bytes[index] ^= 1
            try bench.replace(name, bytes)
            do throws(AuditError) {
                _ = try bench.open()
                Issue.record("opened with byte \(index) changed")
            } catch {
                guard case .damaged = error else {
                    Issue.record("\(error)")
                    continue
                }
            }
            #expect(try bench.read(name) == bytes && bench.torn().isEmpty)
        }
        #expect(lastCheckpoint > 0)
        try bench.replace(name, original)
        await #expect(throws: Never.self) { try await bench.write(1) }
    }

    @Test func `a head that was kept elsewhere must be in the log`() async throws {
        let bench = try Bench()
        let first = try await bench.write(2, fileBytes: 1500)
        let last = try await bench.write(4, fileBytes: 1500)
        for head in [first, last] {
            let trail = try bench.open(expecting: head)
            await trail.shutdown()
        }
        let other = AuditHead(sequence: first.sequence, digest: last.digest)
        #expect(throws: AuditError.behind(expected: other, found: last)) { try bench.open(expecting: other) }
        for name in try bench.names().dropFirst() { try FileManager.default.removeItem(atPath: bench.path(name)) }
        #expect(throws: AuditError.self) { try bench.open(expecting: last) }
        for name in try bench.names() { try FileManager.default.removeItem(atPath: bench.path(name)) }
        #expect(throws: AuditError.self) { try bench.open(expecting: first) }
    }
}
