import ArgumentParser
import Foundation

/// Reads files that a user names; `-` is standard input.
enum InputFile {
    /// Largest file of ciphertexts, 1 GiB.
    static let maximumBundleBytes = 1 << 30
    /// Largest file of values or records, 16 MiB.
    static let maximumDataBytes = 16 << 20
    private static let chunkBytes = 1 << 20

    /// - Parameter code: of the exit where the file cannot be read.
    static func read(
        _ path: String, maximumBytes: Int, code: ExitCode = CommandFailure.inputData
    ) throws -> [UInt8] {
        let name = path == "-" ? "standard input" : path
        var bytes: [UInt8] = []
        do {
            let file =
                path == "-" ? FileHandle.standardInput : try FileHandle(forReadingFrom: URL(filePath: path))
            defer { if path != "-" { try? file.close() } }
            while bytes.count <= maximumBytes,
                let chunk = try file.read(upToCount: min(chunkBytes, maximumBytes + 1 - bytes.count)), !chunk.isEmpty
            {
                bytes.append(contentsOf: chunk)
            }
        } catch {
            throw CommandFailure(
                title: "File not readable", detail: "\(name) cannot be read",
                fix: "Check that it exists and that you may read it.", code: code)
        }
        guard bytes.count <= maximumBytes else {
            throw CommandFailure(
                title: "File too large", detail: "\(name) has more than \(Format.bytes(maximumBytes))",
                fix: "Give a smaller one, or split it.", code: code)
        }
        return bytes
    }
}
