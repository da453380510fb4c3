import AuditLog
import Foundation
import TestSupport
import Testing

/// Devices that do not take what they are given. No record is acknowledged that is not in the log, and the log
/// verifies whatever happened.
@Suite("Audit log on a bad device", .serialized) struct DeviceTests {
    /// Appends until it fails.
    /// - Returns: what was acknowledged, and the error.
    private func fill(_ trail: AuditTrail, from first: Int, atMost count: Int) async -> ([Int], AuditError?) {
        var acknowledged: [Int] = []
        for number in first..<first + count {
            do throws(AuditError) {
                try await trail.append(Bench.record(number))
                acknowledged.append(number)
            } catch {
                return (acknowledged, error)
            }
        }
        return (acknowledged, nil)
    }

    private func recoveries(_ bench: Bench) throws -> [AuditLine.Recovery] {
        var recoveries: [AuditLine.Recovery] = []
        _ = try bench.verify { line in
            if case .recovery(let recovery) = line.content { recoveries.append(recovery) }
        }
        return recoveries
    }

    @Test(
        "a full disk: nothing is acknowledged until there is room, then all is there, late or not",
        .enabled(if: MountedDevice.canMount, Comment(rawValue: MountedDevice.need)), arguments: [64 << 20, 1 << 14])
    func full(fileBytes: Int) async throws {
        let device = try #require(try MountedDevice(mebibytes: 2))
        let bench = try Bench(in: device.path + "/audit")
        let trail = try bench.open(fileBytes: fileBytes)
        try device.fill(butKiB: 100)
        let (acknowledged, failure) = await fill(trail, from: 0, atMost: 1000)
        guard case .unwritable(_, let reason)? = failure, reason.contains("no space left") else {
            Issue.record("\(String(describing: failure))")
            return
        }
        #expect(acknowledged.count > 20)
        let failed = acknowledged.count
        let head = trail.head
        // It goes on failing, and asking for health says so.
        for number in failed + 1..<failed + 4 {
            await #expect(throws: AuditError.self) { try await trail.append(Bench.record(number)) }
        }
        await #expect(throws: AuditError.self) { try await trail.checkHealth() }
        #expect(trail.head == head)

        try device.empty()
        try await trail.checkHealth()
        let later = await fill(trail, from: 2000, atMost: 10)
        #expect(later.0.count == 10)
        await trail.shutdown()
        #expect(try bench.numbers() == Array(0..<failed + 4) + Array(2000..<2010))
        let recoveries = try recoveries(bench)
        #expect(recoveries.count == 1 && recoveries[0].late == 4 && recoveries[0].lost == 0)
        #expect(recoveries[0].cause == .failure && recoveries[0].reason.contains("no space left"))
        #expect(bench.fault(expecting: [head, trail.head]) == nil)
    }

    @Test(
        "a process that ends on a full disk leaves a log that goes on",
        .enabled(if: MountedDevice.canMount, Comment(rawValue: MountedDevice.need)))
    func fullAtEnd() async throws {
        let device = try #require(try MountedDevice(mebibytes: 2))
        let bench = try Bench(in: device.path + "/audit")
        let trail = try bench.open(fileBytes: 1 << 14)
        try device.fill(butKiB: 60)
        let (acknowledged, failure) = await fill(trail, from: 0, atMost: 1000)
        #expect(failure != nil)
        await trail.shutdown()
        try device.empty()
        let next = try bench.open(fileBytes: 1 << 14, expecting: trail.head)
        try await next.append(Bench.record(5000))
        await next.shutdown()
        #expect(try bench.numbers() == acknowledged + [5000])
    }

    @Test(
        "more records than are kept for later are counted",
        .enabled(if: MountedDevice.canMount, Comment(rawValue: MountedDevice.need)))
    func lost() async throws {
        let device = try #require(try MountedDevice(mebibytes: 8))
        let bench = try Bench(in: device.path + "/audit")
        let trail = try bench.open()
        try device.fill(butKiB: 0)
        let failures = await withTaskGroup(of: Bool.self) { group in
            for number in 0..<1100 {
                group.addTask { (try? await trail.append(Bench.record(number))) == nil }
            }
            return await group.reduce(0) { $0 + ($1 ? 1 : 0) }
        }
        try device.empty()
        try await trail.append(Bench.record(2000))
        await trail.shutdown()
        let recovery = try #require(try recoveries(bench).first)
        #expect(recovery.late + recovery.lost == failures && recovery.late <= 1024)
        #expect(try bench.verify().operations == 1100 - failures + recovery.late + 1)
    }

    @Test(
        "a read-only file system stops the start, with a name",
        .enabled(if: MountedDevice.canMount, Comment(rawValue: MountedDevice.need)))
    func readOnly() async throws {
        let device = try #require(try MountedDevice(mebibytes: 2))
        let bench = try Bench(in: device.path + "/audit")
        let head = try await bench.write(1)
        try device.remount("ro")
        do throws(AuditError) {
            _ = try bench.open()
            Issue.record("opened")
        } catch {
            #expect("\(error)".contains("read-only"))
        }
        #expect(bench.fault(expecting: [head]) == nil)
        try device.remount("rw")
        try await bench.write(1)
        #expect(try bench.numbers() == [0, 0])
    }

    @Test(
        "a disk that fails under the open log", .enabled(if: FailingDisk.canMount, Comment(rawValue: FailingDisk.need)))
    func failing() async throws {
        let disk = try #require(try FailingDisk())
        let bench = try Bench(in: disk.path + "/audit")
        let trail = try bench.open()
        let (acknowledged, _) = await fill(trail, from: 0, atMost: 20)
        #expect(acknowledged.count == 20)
        let head = trail.head
        try disk.fail()
        for number in 20..<25 {
            await #expect(throws: AuditError.self) { try await trail.append(Bench.record(number)) }
        }
        await #expect(throws: AuditError.self) { try await trail.checkHealth() }
        #expect(trail.head == head)
        await trail.shutdown()
        #expect(bench.fault(expecting: [head]) == nil)
        #expect(try bench.numbers() == Array(0..<20))
    }

    @Test func `a log that is taken away or changed in the middle takes no more`() async throws {
        for change in ["remove", "replace", "shorten", "lengthen"] {
            let bench = try Bench()
            let trail = try bench.open()
            try await trail.append(Bench.record(0))
            let name = try bench.names()[0]
            let original = try bench.read(name)
            switch change {
            case "remove": try FileManager.default.removeItem(atPath: bench.path(name))
            case "replace":
                try FileManager.default.removeItem(atPath: bench.path(name))
                try FileManager.default.createSymbolicLink(atPath: bench.path(name), withDestinationPath: "/dev/null")
            case "shorten": try bench.replace(name, original.dropLast())
            default: try bench.replace(name, original + [0x61])
            }
            let head = trail.head
            await #expect(throws: AuditError.self, "\(change)") { try await trail.append(Bench.record(1)) }
            if change == "lengthen" {
                // What somebody wrote behind the end is no part of the log.
                try await trail.checkHealth()
            } else {
                await #expect(throws: AuditError.self, "\(change)") { try await trail.checkHealth() }
                try? FileManager.default.removeItem(atPath: bench.path(name))
                try bench.replace(name, original)
                try await trail.checkHealth()
            }
            try await trail.append(Bench.record(2))
            await trail.shutdown()
            #expect(try bench.numbers() == [0, 1, 2], "\(change)")
            #expect(bench.fault(expecting: [head]) == nil)
        }
    }
}
