import Foundation
import Testing

/// The process whose memory is looked into; `MemoryScanSubject.swift` has its commands.
final class ScanSubject {
    let folder: URL
    private let process = Process()
    private let commands = Pipe()
    private let answers = Pipe()
    private let secretsFile: URL
    private var buffered: [UInt8] = []

    var identifier: Int32 { process.processIdentifier }

    init(_ kms: String, address: String? = nil, token: String? = nil, timeoutSeconds: Int = 30) throws {
        folder = FileManager.default.temporaryDirectory.appendingPathComponent("hkms-scan-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        secretsFile = folder.appendingPathComponent("told")
        try Data().write(to: secretsFile)
        if let token {
            try Data(token.utf8).write(to: folder.appendingPathComponent("token"))
            try FileManager.default.setAttributes(
                [.posixPermissions: 0o600], ofItemAtPath: folder.appendingPathComponent("token").path)
        }
        // Foundation hands on no descriptor but the three: the shell opens the one that secrets go to.
        process.executableURL = URL(fileURLWithPath: "/bin/sh")
        process.arguments = [
            "-c", "exec \"$0\" \"$1\" \"$2\" 3>>\"$3\"", try Programs.path("memory-scan-subject"), folder.path, kms,
            secretsFile.path,
        ]
        process.environment = ProcessInfo.processInfo.environment.merging([
            "SUBJECT_ADDRESS": address ?? "", "SUBJECT_TIMEOUT": "\(timeoutSeconds)",
        ]) { $1 }
        process.standardInput = commands
        process.standardOutput = answers
        try process.run()
        let ready = try line()
        try #require(ready == "ready")
    }

    deinit {
        process.terminate()
        process.waitUntilExit()
        try? FileManager.default.removeItem(at: folder)
    }

    func send(_ line: String) throws { try commands.fileHandleForWriting.write(contentsOf: Data((line + "\n").utf8)) }

    /// The next line of its answers.
    func line() throws -> String {
        while true {
            if let end = buffered.firstIndex(of: 10) {
                let line = String(decoding: buffered[..<end], as: UTF8.self)
                buffered.removeSubrange(...end)
                return line
            }
            let more = answers.fileHandleForReading.availableData
            guard !more.isEmpty else { throw CocoaError(.fileReadUnknown) }
            buffered += more
        }
    }

    func ask(_ line: String) throws -> String {
        try send(line)
        return try self.line()
    }

    /// Seeds and data keys that passed so far, 32 bytes each.
    func told() throws -> [[UInt8]] {
        let bytes = Array(try Data(contentsOf: secretsFile))
        return stride(from: 0, to: bytes.count - 31, by: 32).map { Array(bytes[$0..<$0 + 32]) }
    }
}
