import Foundation
import KeyManagement
import SecretMemory
import Testing

// What ten thousand operations leave behind, in descriptors and in memory.
extension TrustedKMSConformance {
    private static let operations = 10_000
    private static let concurrency = 64

    static func tenThousandOperationsLeakNothing(
        _ subject: any ConformanceSubject
    ) async throws -> ConformanceOutcome {
        // Whatever is made once a process, such as threads and their descriptors, is made here.
        try await withConnection(to: subject) { try await work($0, operations: 500) }
        // The first sleep opens a descriptor for its timer.
        try await Task.sleep(for: .milliseconds(50))
        let before = try ProcessUse()
        try await withConnection(to: subject) { kms in
            try await work(kms, operations: 1000)
            let warm = try ProcessUse()
            try await work(kms, operations: operations)
            let after = try ProcessUse()
            // 2 KiB an operation would be 20 MiB.
            let growth = after.residentKiB - warm.residentKiB
            #expect(growth < 16 * 1024, "resident memory grew by \(growth) KiB")
            #expect(after.lockedKiB <= warm.lockedKiB + 64, "locked memory: \(warm.lockedKiB), \(after.lockedKiB) KiB")
        }
        // Connections close in their own time.
        var after = try ProcessUse()
        for _ in 0..<100 where after.descriptors > before.descriptors || after.lockedKiB > before.lockedKiB {
            try await Task.sleep(for: .milliseconds(50))
            after = try ProcessUse()
        }
        #expect(after.descriptors <= before.descriptors)
        #expect(after.lockedKiB <= before.lockedKiB)
        return .passed
    }

    /// Sealing, opening, rewrapping and refused openings, many at a time.
    private static func work(_ kms: any TrustedKMS, operations: Int) async throws {
        let key = try await freshKey(kms)
        try await withThrowingTaskGroup(of: Void.self) { group in
            for worker in 0..<concurrency {
                group.addTask {
                    let rounds = operations / 4 / concurrency + (worker < operations / 4 % concurrency ? 1 : 0)
                    for _ in 0..<rounds {
                        let sealed = try await sealed(kms, key)
                        try await expectOpens(kms, sealed.blob, key, as: sealed.secret)
                        _ = try await kms.rewrap(sealed.blob, under: key, context: context, as: .service)
                        let error = await failure {
                            _ = try await kms.open(sealed.blob, under: key, context: otherContext, as: .service)
                        }
                        guard error == .cannotOpen else { throw ConformanceFailure("\(String(describing: error))") }
                    }
                }
            }
            try await group.waitForAll()
        }
        try await kms.destroyKey(key)
    }
}

/// What this process holds at one moment.
private struct ProcessUse {
    let descriptors: Int
    let residentKiB: Int
    /// Of `mlock`, as ``SecretBytes`` uses it.
    let lockedKiB: Int

    init() throws {
        descriptors = try FileManager.default.contentsOfDirectory(atPath: "/proc/self/fd").count
        let status = String(decoding: try Data(contentsOf: URL(fileURLWithPath: "/proc/self/status")), as: UTF8.self)
        func kibibytes(_ name: String) throws -> Int {
            let line = status.split(separator: "\n").first { $0.hasPrefix(name + ":") }
            let number = line?.split(whereSeparator: { $0 == " " || $0 == "\t" }).dropFirst().first
            return try #require(number.flatMap { Int($0) }, "\(name) of /proc/self/status")
        }
        residentKiB = try kibibytes("VmRSS")
        lockedKiB = try kibibytes("VmLck")
    }
}
