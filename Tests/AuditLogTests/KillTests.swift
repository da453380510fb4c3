import AuditLog
import Foundation
import TestSupport
import Testing

/// kill -9 at any moment: what was acknowledged is in the log, the log verifies after the next start, and goes on.
@Suite("Audit log and kill -9", .serialized) struct KillTests {
    private static let rounds = ProcessInfo.processInfo.environment["HKMS_SOAK"] == "1" ? 1000 : 40

    @Test func `no acknowledged record is lost`() async throws {
        let bench = try Bench()
        let bin = try #require(
            ProcessInfo.processInfo.environment["HKMS_TEST_BIN"], "HKMS_TEST_BIN is not set: run scripts/test")
        var generator = SeededGenerator(6)
        var acknowledged: [AuditHead] = []
        var torn = 0
        for round in 0..<Self.rounds {
            let process = Process()
            process.executableURL = URL(fileURLWithPath: bin + "/audit-log-subject")
            process.arguments = [bench.folder, "\([1, 4, 32][round % 3])"]
            let out = Pipe()
            process.standardOutput = out
            try process.run()
            // Until something is acknowledged; then at any moment of the next batches.
            var printed = out.fileHandleForReading.availableData
            usleep(UInt32.random(in: 0...20_000, using: &generator))
            kill(process.processIdentifier, SIGKILL)
            printed += out.fileHandleForReading.readDataToEndOfFile()
            process.waitUntilExit()
            #expect(process.terminationReason == .uncaughtSignal, "it is not killed")
            let text = String(decoding: printed, as: UTF8.self)
            // A line that is cut off was not told.
            let lines = text.split(separator: "\n").prefix(
                text.hasSuffix("\n") ? .max : text.split(separator: "\n").count - 1)
            let heads = lines.compactMap { AuditHead(String($0)) }
            try #require(heads.count == lines.count && !heads.isEmpty, "round \(round): \(text.prefix(200))")
            acknowledged += heads
            // As it was left: nothing is wrong with it but an end that nobody signed.
            let fault = bench.fault()
            #expect(fault == nil || fault == .unsigned || fault == .malformed || fault == .missing, "round \(round)")
            torn += fault == nil ? 0 : 1
            let trail = try bench.open(fileBytes: 1 << 16, expecting: heads.max { $0.sequence < $1.sequence })
            await trail.shutdown()
        }
        let report = try bench.verify(expecting: acknowledged)
        #expect(report.recoveries == torn && report.operations >= acknowledged.count && report.files > 1)
        #expect(acknowledged.count >= Self.rounds)
    }
}
