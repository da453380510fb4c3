import Foundation

/// This process as the system sees it. nil where it does not tell (on anything but Linux).
enum Machine {
    struct Memory: Encodable {
        /// The most that was resident at one time.
        let peakKiB: Int?
    }

    static var memory: Memory { Memory(peakKiB: status("VmHWM:")) }
    static var residentKiB: Int? { status("VmRSS:") }

    /// Processor time of this process so far.
    static var processorMilliseconds: Double {
        var now = timespec()
        clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now)
        return Double(now.tv_sec) * 1e3 + Double(now.tv_nsec) / 1e6
    }

    private static func status(_ field: String) -> Int? {
        guard let text = try? String(contentsOfFile: "/proc/self/status", encoding: .utf8),
            let line = text.split(separator: "\n").first(where: { $0.hasPrefix(field) })
        else { return nil }
        return line.split(whereSeparator: \.isWhitespace).dropFirst().first.flatMap { Int($0) }
    }
}

/// One JSON object a line on standard output.
enum JSONLine {
    static func write(_ value: some Encodable) throws {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        var line = try encoder.encode(value)
        line.append(UInt8(ascii: "\n"))
        try FileHandle.standardOutput.write(contentsOf: line)
    }
}
