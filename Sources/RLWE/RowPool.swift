import SecretMemory

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif

/// Memory of polynomials that died, for the next ones: the same few sizes come and go with every operation, and memory
/// that is new to a process costs a page fault every 4 KiB. Scratch memory of the same sizes comes from here too.
///
/// It holds what was there last: messages are zeroed before they are given back, keys and errors are never here.
package enum RowPool {
    private struct State {
        var free: [Int: [UnsafeMutablePointer<UInt64>]] = [:]
        var bytes = 0
    }
    private static let state = BriefLock(State())
    /// More than this is given back to the system.
    private static let limit = 128 << 20

    static func take(_ count: Int) -> UnsafeMutablePointer<UInt64> {
        let kept: UnsafeMutablePointer<UInt64>? = state.withLock { state in
            guard let pointer = state.free[count]?.popLast() else { return nil }
            state.bytes -= count * 8
            return pointer
        }
        if let kept { return kept }
        // From 2 MiB on by huge pages: an evaluation key would be thousands of page faults.
        let huge = 2 << 20
        let bytes = count * 8
        let raw = UnsafeMutableRawPointer.allocate(byteCount: bytes, alignment: bytes >= huge ? huge : 64)
        #if os(Linux)
            if bytes >= huge { _ = madvise(raw, bytes / huge * huge, Int32(MADV_HUGEPAGE)) }
        #endif
        return raw.bindMemory(to: UInt64.self, capacity: count)
    }

    static func give(_ words: UnsafeMutablePointer<UInt64>, _ count: Int) {
        let dropped: [UnsafeMutablePointer<UInt64>] = state.withLock { state in
            var dropped: [UnsafeMutablePointer<UInt64>] = []
            if state.bytes + count * 8 > limit {
                // What other parameters left behind goes first.
                for size in state.free.keys where size != count {
                    dropped += state.free[size] ?? []
                    state.bytes -= (state.free[size]?.count ?? 0) * size * 8
                    state.free[size] = nil
                }
            }
            guard state.bytes + count * 8 <= limit else { return dropped + [words] }
            state.free[count, default: []].append(words)
            state.bytes += count * 8
            return dropped
        }
        for words in dropped { UnsafeMutableRawPointer(words).deallocate() }
    }

    /// Memory of `count` words, of any content, for the time of `body`.
    /// - Parameter isConfidential: zeroes it afterwards.
    package static func withScratch<Result, Failure: Error>(
        words count: Int, isConfidential: Bool = false,
        _ body: (UnsafeMutablePointer<UInt64>) throws(Failure) -> Result
    ) throws(Failure) -> Result {
        let words = take(count)
        defer {
            if isConfidential { SecretMemory.wipe(UnsafeMutableRawBufferPointer(start: words, count: count * 8)) }
            give(words, count)
        }
        return try body(words)
    }

    /// The same as floating-point numbers, which are messages: zeroed afterwards.
    package static func withScratch<Result, Failure: Error>(
        doubles count: Int, _ body: (UnsafeMutablePointer<Double>) throws(Failure) -> Result
    ) throws(Failure) -> Result {
        try withScratch(words: count, isConfidential: true) { words throws(Failure) in
            let doubles = UnsafeMutableRawPointer(words).bindMemory(to: Double.self, capacity: count)
            defer { UnsafeMutableRawPointer(doubles).bindMemory(to: UInt64.self, capacity: count) }
            return try body(doubles)
        }
    }
}
