/// The health tests of SP 800-90B, 4.4, on bytes of a generator, each for a false alarm of 2^-40 where a byte has no
/// more than 4 bits of entropy. Bytes of the operating system's generator have 8.
package enum GeneratorHealth {
    /// At the start: two windows of the adaptive proportion test, as 4.3 asks for.
    static let sampleBytes = 1024
    /// 1 + 40 / 4.
    package static let repetitionCutoff = 11
    package static let proportionWindow = 512
    /// The least c for which a binomial of 512 trials and 2^-4 reaches c with at most 2^-40.
    package static let proportionCutoff = 78

    /// The repetition count test.
    package static func isWithoutLongRepetition(_ bytes: UnsafeRawBufferPointer) -> Bool {
        var run = 0
        var previous: UInt8?
        for byte in bytes {
            run = byte == previous ? run + 1 : 1
            previous = byte
            if run >= repetitionCutoff { return false }
        }
        return true
    }

    /// The adaptive proportion test, of every whole window.
    package static func isProportionate(_ bytes: UnsafeRawBufferPointer) -> Bool {
        for start in stride(from: 0, through: bytes.count - proportionWindow, by: proportionWindow) {
            let window = bytes[start..<start + proportionWindow]
            if window.reduce(0, { $0 + ($1 == window[start] ? 1 : 0) }) >= proportionCutoff { return false }
        }
        return true
    }
}
