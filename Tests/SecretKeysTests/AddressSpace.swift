import Foundation
import Testing

/// How much address space this process takes: every allocation, touched or not, freed since or not.
enum AddressSpace {
    /// By how many bytes `body` raised the most that this process has ever taken; 0 where there is no /proc.
    ///
    /// Tests that run at the same time count too: scripts/test runs one after the other.
    static func growth(_ body: () throws -> Void) throws -> Int {
        #if os(Linux)
            // What ran before may have freed much: filled up to the highest mark, every byte more is above it.
            let slack = max(4096, try bytes("VmPeak:") - bytes("VmSize:"))
            let filler = mmap(nil, slack, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0)
            try #require(filler != MAP_FAILED)
            defer { munmap(filler, slack) }
            let before = try bytes("VmPeak:")
            try body()
            return try bytes("VmPeak:") - before
        #else
            try body()
            return 0
        #endif
    }

    private static func bytes(_ field: String) throws -> Int {
        let file = try FileHandle(forReadingFrom: URL(fileURLWithPath: "/proc/self/status"))
        let text = String(decoding: try file.readToEnd() ?? Data(), as: UTF8.self)
        let line = try #require(text.split(separator: "\n").first { $0.hasPrefix(field) })
        return try #require(line.split(whereSeparator: \.isWhitespace).dropFirst().first.flatMap { Int($0) }) << 10
    }
}
