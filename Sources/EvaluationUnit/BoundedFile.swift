import Foundation

/// Why a file was not read.
public enum BoundedFileError: Error, Equatable, Sendable, CustomStringConvertible {
    case cannotRead(path: String)
    case tooLong(path: String, maximumBytes: Int)

    public var description: String {
        switch self {
        case .cannotRead(let path): "\(path) cannot be read; check that it exists and who may read it"
        case .tooLong(let path, let maximumBytes): "\(path) is longer than \(maximumBytes) bytes"
        }
    }
}

/// Files of bounded length.
public enum BoundedFile {
    /// The whole file; `-` is standard input.
    /// - Parameter maximumBytes: no more than one byte beyond it is read.
    public static func read(_ path: String, maximumBytes: Int) throws(BoundedFileError) -> [UInt8] {
        guard let file = path == "-" ? .standardInput : FileHandle(forReadingAtPath: path) else {
            throw .cannotRead(path: path)
        }
        var bytes: [UInt8] = []
        do {
            while bytes.count <= maximumBytes {
                let wanted = min(1 << 20, maximumBytes + 1 - bytes.count)
                guard let piece = try file.read(upToCount: wanted), !piece.isEmpty else { return bytes }
                bytes += piece
            }
        } catch { throw .cannotRead(path: path) }
        throw .tooLong(path: path, maximumBytes: maximumBytes)
    }
}
