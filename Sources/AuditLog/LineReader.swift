import LocalFiles

/// The lines of a file, one at a time, however long the file is.
struct LineReader: ~Copyable {
    private static let chunkBytes = 1 << 16

    private let file: FileDescriptor
    private var buffer: [UInt8] = []
    private var position = 0
    private var isAtEnd = false
    /// Where the next line begins, in bytes from the file's beginning.
    private(set) var offset = 0

    init(_ file: consuming FileDescriptor) {
        self.file = file
    }

    /// The next line with its newline. The last may have none, and one that is longer than any line of a log may be
    /// comes in pieces, the first of them as long as that.
    mutating func next() throws(SystemError) -> [UInt8]? {
        var searched = position
        while true {
            if let newline = buffer[searched...].firstIndex(of: UInt8(ascii: "\n")) {
                return take(through: newline + 1)
            }
            searched = buffer.count
            if searched - position > AuditLine.maximumBytes { return take(through: searched) }
            guard !isAtEnd else { return searched > position ? take(through: searched) : nil }
            let chunk = try file.read(Self.chunkBytes)
            isAtEnd = chunk.isEmpty
            if position > 0 {
                searched -= position
                buffer.removeSubrange(..<position)
                position = 0
            }
            buffer += chunk
        }
    }

    private mutating func take(through end: Int) -> [UInt8] {
        let line = Array(buffer[position..<end])
        position = end
        offset += line.count
        return line
    }
}
