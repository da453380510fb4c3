/// Minutes of the week, from Monday 0:00 UTC on.
struct WeekMinutes: Sendable, Hashable {
    private var words = [UInt64](repeating: 0, count: (WeeklyWindow.minutesPerWeek + 63) / 64)

    /// Those that are within one of the windows at least.
    init(_ windows: [WeeklyWindow]) {
        for minute in 0..<WeeklyWindow.minutesPerWeek where windows.contains(where: { $0.contains(minute: minute) }) {
            words[minute / 64] |= 1 << UInt64(minute % 64)
        }
    }

    func contains(_ minute: Int) -> Bool { words[minute / 64] >> UInt64(minute % 64) & 1 == 1 }

    func isSubset(of other: WeekMinutes) -> Bool { zip(words, other.words).allSatisfy { $0 & ~$1 == 0 } }
}
