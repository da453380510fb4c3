import Foundation

/// A file that appears under its name when it is complete, and not before.
final class OutputFile {
    private let path: String
    private let part: String
    private let file: FileHandle
    private var isDone = false

    init(_ path: String) throws {
        self.path = path
        part = "\(path).\(UUID().uuidString.prefix(8)).part"
        guard FileManager.default.createFile(atPath: part, contents: nil),
            let file = FileHandle(forWritingAtPath: part)
        else { throw Self.failure(path) }
        self.file = file
    }

    deinit {
        guard !isDone else { return }
        try? file.close()
        try? FileManager.default.removeItem(atPath: part)
    }

    func write(_ bytes: some Sequence<UInt8>) throws {
        do {
            try file.write(contentsOf: Data(bytes))
        } catch {
            throw Self.failure(path)
        }
    }

    /// Puts the file in the place of one that may be there.
    func finish() throws {
        do {
            try file.synchronize()
            try file.close()
        } catch {
            throw Self.failure(path)
        }
        guard rename(part, path) == 0 else { throw Self.failure(path) }
        isDone = true
    }

    /// Writes all of a file; `-` is standard output.
    static func write(_ bytes: [UInt8], to path: String) throws {
        guard path != "-" else { return try Terminal.write(bytes) }
        let file = try OutputFile(path)
        try file.write(bytes)
        try file.finish()
    }

    private static func failure(_ path: String) -> CommandFailure {
        CommandFailure(
            title: "File not written", detail: "\(path) cannot be written",
            fix: "Check that the folder exists, that you may write there, and that there is space.")
    }
}
