import AuditLog
import Foundation
import TestSupport
import Testing

/// kill -9 at any moment, and at a write, also halfway through it: what was acknowledged is in the log, the log
/// verifies after the next start, and goes on.
@Suite("Audit log and kill -9", .serialized) struct KillTests {
    private static let rounds = 24
    /// Logs, each of so many rounds: every round reads its log from the beginning.
    private static let logs = ProcessInfo.processInfo.environment["HKMS_SOAK"] == "1" ? 40 : 1

    @Test func `no acknowledged record is lost when it is killed at any moment`() async throws {
        var generator = SeededGenerator(6)
        for log in 0..<Self.logs {
            let doomed = try DoomedWriter()
            for round in 0..<Self.rounds {
                let heads = try doomed.run(tasks: [1, 4, 32][round % 3], environment: [:]) { process, out in
                    // Until something is acknowledged; then at any moment of the next batches.
                    let printed = out.availableData
                    usleep(UInt32.random(in: 0...20_000, using: &generator))
                    kill(process.processIdentifier, SIGKILL)
                    return printed
                }
                try #require(!heads.isEmpty, "log \(log), round \(round)")
                try await doomed.check(heads, "log \(log), round \(round)")
            }
            try doomed.finish(atLeast: Self.rounds)
        }
    }

    #if os(Linux)
        @Test func `no acknowledged record is lost when it is killed at a write`() async throws {
            var generator = SeededGenerator(7)
            var torn = 0
            for log in 0..<Self.logs {
                let doomed = try DoomedWriter()
                let (library, control) = try doomed.preload()
                for round in 0..<Self.rounds {
                    // The first writes open the log; a flush counts as a write.
                    let target = Int64(round < 6 ? round / 2 + 1 : Int.random(in: 1...60, using: &generator))
                    let manner = Int64(round % 3)
                    try [target, manner, 0, 0].withUnsafeBytes { try Data($0).write(to: URL(fileURLWithPath: control)) }
                    let heads = try doomed.run(
                        tasks: [1, 4, 32][round / 3 % 3],
                        environment: ["LD_PRELOAD": library, "HKMS_KILL_CONTROL": control]
                    ) { _, _ in Data() }
                    try await doomed.check(heads, "log \(log), round \(round): write \(target), manner \(manner)")
                }
                torn += doomed.torn
                try doomed.finish(atLeast: Self.rounds)
            }
            #expect(torn > 0)
        }
    #endif
}

/// A process that appends until it is killed, again and again to the same log.
private final class DoomedWriter {
    let bench: Bench
    private let program: String
    private var acknowledged: [AuditHead] = []
    /// How often it left something behind the last checkpoint.
    private(set) var torn = 0

    init() throws {
        bench = try Bench()
        let bin = try #require(
            ProcessInfo.processInfo.environment["HKMS_TEST_BIN"], "HKMS_TEST_BIN is not set: run scripts/test")
        program = bin + "/audit-log-subject"
    }

    /// Compiles what kills it at a write.
    func preload() throws -> (library: String, control: String) {
        try FileManager.default.createDirectory(atPath: bench.folder, withIntermediateDirectories: true)
        let library = bench.path("kill_at_write.so")
        let source = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .appendingPathComponent("Preload/kill_at_write.c").path
        let compiler = Process()
        compiler.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        compiler.arguments = ["clang", "-shared", "-fPIC", "-O2", "-o", library, source]
        try compiler.run()
        compiler.waitUntilExit()
        try #require(compiler.terminationStatus == 0)
        return (library, bench.path("control"))
    }

    /// - Parameter end: makes it die, and gives what it has read of the output.
    /// - Returns: what it said that it was told is on record.
    func run(
        tasks: Int, environment: [String: String], end: (Process, FileHandle) -> Data
    ) throws -> [AuditHead] {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: program)
        process.arguments = [bench.folder, "\(tasks)"]
        process.environment = ProcessInfo.processInfo.environment.merging(environment) { $1 }
        let out = Pipe()
        process.standardOutput = out
        try process.run()
        let first = end(process, out.fileHandleForReading)
        let text = String(decoding: first + out.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
        process.waitUntilExit()
        #expect(process.terminationReason == .uncaughtSignal, "it is not killed")
        var lines = text.split(separator: "\n")
        // What is cut off was not told.
        if !text.hasSuffix("\n") { lines = lines.dropLast() }
        let heads = lines.compactMap { AuditHead(String($0)) }
        try #require(heads.count == lines.count, "\(text.prefix(200))")
        return heads
    }

    /// The log as it was left, and after the next start.
    func check(_ heads: [AuditHead], _ note: Comment) async throws {
        acknowledged += heads
        let fault = bench.fault()
        // An end that nobody signed, or a file without its first batch.
        #expect(fault == nil || [.unsigned, .malformed, .missing].contains(fault), note)
        let trail = try bench.open(fileBytes: 1 << 16, expecting: heads.max { $0.sequence < $1.sequence })
        try await trail.append(Bench.record(0))
        await trail.shutdown()
        torn = try bench.torn().count
        #expect(bench.fault(expecting: heads) == nil, note)
    }

    func finish(atLeast count: Int) throws {
        let report = try bench.verify(expecting: acknowledged)
        #expect(report.recoveries == torn && report.files > 1)
        #expect(report.operations >= acknowledged.count + count && acknowledged.count >= count)
    }
}
