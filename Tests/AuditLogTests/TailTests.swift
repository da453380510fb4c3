import Attestation
import AuditLog
import Foundation
import Testing

@Suite("The end of an audit log") struct TailTests {
    private func verify(
        _ bench: Bench, trusted: [VerificationKey]? = nil, expecting head: AuditHead? = nil
    ) throws(AuditFault) -> AuditReport {
        try AuditTail.verify(
            in: bench.folder, trusted: trusted ?? [bench.key.verificationKey], expecting: head)
    }

    private func fault(_ bench: Bench, expecting head: AuditHead? = nil) -> AuditFault.Kind? {
        do throws(AuditFault) {
            _ = try verify(bench, expecting: head)
            return nil
        } catch { return error.kind }
    }

    @Test func `the last file is verified, and those from an expected line on`() async throws {
        let bench = try Bench()
        let early = try await bench.write(1, fileBytes: 1)
        let head = try await bench.write(4, fileBytes: 1)
        let names = try bench.names()
        try #require(names.count >= 5)
        let last = try verify(bench)
        #expect(last.files == 1 && last.head == head && last.first > early.sequence)
        #expect(try verify(bench, expecting: head).files == 1)
        let all = try verify(bench, expecting: early)
        #expect(all.head == head && all.first <= early.sequence && all.files > 1)
        #expect(all.files < names.count || all.first == 1)

        // An early file is not looked at, the one that must hold a line is.
        var bytes = try bench.read(names[0])
        bytes[bytes.count / 2] ^= 1
        try bench.replace(names[0], bytes)
        #expect(fault(bench) == nil)
        #expect(fault(bench, expecting: AuditHead(sequence: 1, digest: Digest(of: []))) != nil)
    }

    @Test func `what is altered, cut or written anew is found`() async throws {
        let bench = try Bench()
        let head = try await bench.write(3)
        let name = try bench.names()[0]
        let original = try bench.read(name)
        let lines = try bench.lines(name)
        for index in stride(from: 0, to: original.count, by: 7) {
            var bytes = original
            bytes[index] ^= 1
            try bench.replace(name, bytes)
            #expect(fault(bench) != nil, "byte \(index)")
        }
        try bench.replace(name, lines.dropLast().joined())
        #expect(fault(bench) == .unsigned)
        // Whole in itself, without the last record and its checkpoint.
        try bench.replace(name, lines.dropLast(2).joined())
        #expect(fault(bench) == nil && fault(bench, expecting: head) == .head)
        try bench.replace(name, original)
        #expect(fault(bench, expecting: AuditHead(sequence: head.sequence, digest: Digest(of: [1]))) == .head)
        #expect(fault(bench, expecting: AuditHead(sequence: head.sequence + 1, digest: Digest(of: [1]))) == .head)
        try bench.replace(name, [])
        #expect(fault(bench) == .missing)
        try bench.replace(name, Array("no line\n".utf8))
        #expect(fault(bench) == .malformed)
    }

    @Test func `a log of another key, and none, are refused`() async throws {
        let bench = try Bench()
        #expect(fault(bench) == .unreadable)
        try await bench.write(1)
        #expect(throws: AuditFault.self) { try verify(bench, trusted: [Bench.key(9).verificationKey]) }
        try FileManager.default.removeItem(atPath: bench.path(bench.names()[0]))
        #expect(fault(bench) == .missing)
    }
}
