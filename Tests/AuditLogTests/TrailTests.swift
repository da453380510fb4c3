import Attestation
import AuditLog
import Foundation
import ServiceKit
import Testing

@Suite("Audit trail") struct TrailTests {
    @Test func `records of many tasks are all there, each task's in its order, and share flushes`() async throws {
        let bench = try Bench()
        let trail = try bench.open(fileBytes: 1 << 18)
        let (tasks, records) = (64, 20)
        let heads = await withTaskGroup(of: [AuditHead].self) { group in
            for task in 0..<tasks {
                group.addTask {
                    var heads: [AuditHead] = []
                    for number in 0..<records {
                        guard let head = try? await trail.append(Bench.record(task * records + number)) else { break }
                        heads.append(head)
                    }
                    return heads
                }
            }
            return await group.reduce(into: []) { $0.append($1) }
        }
        await trail.shutdown()
        #expect(heads.allSatisfy { $0.count == records && $0.map(\.sequence) == $0.map(\.sequence).sorted() })
        let report = try bench.verify(expecting: heads.flatMap { $0 })
        #expect(report.operations == tasks * records && report.head == trail.head)
        // Without sharing there would be one for each.
        #expect(report.checkpoints < tasks * records / 2 && report.files > 1)
        let numbers = try bench.numbers()
        #expect(Set(numbers).count == tasks * records)
        for task in 0..<tasks {
            let own = numbers.filter { $0 / records == task }
            #expect(own == own.sorted())
        }
    }

    @Test func `what is returned is the record's own line`() async throws {
        let bench = try Bench()
        // Every batch begins a file.
        let trail = try bench.open(fileBytes: 1)
        let heads = try await withThrowingTaskGroup(of: (Int, AuditHead).self) { group in
            for number in 0..<40 { group.addTask { (number, try await trail.append(Bench.record(number))) } }
            return try await group.reduce(into: [:]) { $0[$1.0] = $1.1 }
        }
        await trail.shutdown()
        var found = 0
        _ = try bench.verify { line in
            guard case .operation(let record) = line.content,
                let number = record.parameters["number"].flatMap({ Int($0) })
            else { return }
            #expect(heads[number]?.digest == Digest(of: line.serialized()))
            found += 1
        }
        #expect(found == 40)
    }

    @Test func `a log goes on after a restart, with a new file for a new key`() async throws {
        let bench = try Bench()
        let head = try await bench.write(2)
        #expect(try await bench.write(2).sequence == head.sequence + 4)
        #expect(try bench.names().count == 1 && bench.verify().recoveries == 0)
        let next = try Bench.key(9)
        #expect(throws: AuditError.self) { try bench.open(key: next) }
        #expect(try bench.torn().isEmpty && bench.numbers() == [0, 1, 0, 1])
        let trail = try bench.open(key: next, earlier: [bench.key.verificationKey], expecting: head)
        try await trail.append(Bench.record(7))
        await trail.shutdown()
        #expect(try bench.names().count == 2)
        #expect(bench.fault() == .unknownKey)
        let report = try bench.verify(trusted: [bench.key.verificationKey, next.verificationKey])
        #expect(report.operations == 5 && report.keys.count == 2)
    }

    @Test func `one process writes at a time`() async throws {
        let bench = try Bench()
        let trail = try bench.open()
        #expect(throws: AuditError.locked(directory: bench.folder)) { try bench.open() }
        await trail.shutdown()
    }

    @Test func `after a shutdown nothing is taken, and what waited is written`() async throws {
        let bench = try Bench()
        let trail = try bench.open()
        let waiting = Task { try await trail.append(Bench.record(1)) }
        while trail.head.sequence < 3 { await Task.yield() }
        await trail.shutdown()
        _ = try await waiting.value
        await #expect(throws: AuditError.closed) { try await trail.append(Bench.record(2)) }
        await #expect(throws: AuditError.closed) { try await trail.checkHealth() }
        #expect(try bench.numbers() == [1])
    }

    @Test func `a cancelled task's record is written`() async throws {
        let bench = try Bench()
        let trail = try bench.open()
        let task = Task {
            withUnsafeCurrentTask { $0?.cancel() }
            return try await trail.append(Bench.record(1))
        }
        _ = try await task.value
        await trail.shutdown()
        #expect(try bench.numbers() == [1])
    }

    @Test func `names that are none are refused`() throws {
        let bench = try Bench()
        for name in ["", "a b", "a\n", "ä", String(repeating: "a", count: 65)] {
            #expect(throws: AuditError.invalidName(name)) { try bench.open(installation: name) }
        }
    }

    @Test func `the caller is told of a problem, and no more`() {
        let error = AuditError.unwritable(directory: "/secret/place", reason: "no space left on its device")
        #expect(error.problem.status == 503 && error.problem.name == "audit-unavailable")
        #expect(!error.problem.detail.contains("/secret/place") && error.description.contains("/secret/place"))
    }
}
