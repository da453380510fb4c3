#if canImport(FoundationEssentials)
    import FoundationEssentials
#else
    import Foundation
#endif

/// Hours of some days of the week, at a fixed distance from UTC.
///
/// From the start, which belongs to it, to the end, which does not. A window that ends before it starts goes over
/// midnight, and belongs to the day on which it starts.
struct WeeklyWindow: Sendable, Hashable {
    enum Day: String, Sendable, CaseIterable {
        case monday = "mon"
        case tuesday = "tue"
        case wednesday = "wed"
        case thursday = "thu"
        case friday = "fri"
        case saturday = "sat"
        case sunday = "sun"
    }

    static let minutesPerDay = 1440
    static let minutesPerWeek = 7 * minutesPerDay

    /// Whether it starts on a day, from Monday on.
    private let starts: [Bool]
    /// Minutes of the day: 0 to 1439, and 1 to 1440.
    let start: Int
    let end: Int
    /// Minutes east of UTC.
    let offset: Int

    init(days: Set<Day>, start: Int, end: Int, offset: Int) {
        starts = Day.allCases.map(days.contains)
        self.start = start
        self.end = end
        self.offset = offset
    }

    /// - Parameter minute: of the week from Monday 0:00 UTC on.
    func contains(minute: Int) -> Bool {
        let local = (minute + offset + Self.minutesPerWeek) % Self.minutesPerWeek
        let (day, time) = local.quotientAndRemainder(dividingBy: Self.minutesPerDay)
        if start < end { return starts[day] && start <= time && time < end }
        return starts[day] && start <= time || starts[(day + 6) % 7] && time < end
    }

    /// The minute of the week from Monday 0:00 UTC on; nil for a date beyond what a calendar has.
    static func minute(of date: Date) -> Int? {
        let seconds = date.timeIntervalSince1970.rounded(.down)
        guard seconds.magnitude < 0x1p50 else { return nil }
        // 1970-01-01 was a Thursday. Unix time has no leap seconds, and weeks know no leap days.
        let minutes = (Int(seconds) / 60 - (seconds < 0 && Int(seconds) % 60 != 0 ? 1 : 0)) + 3 * minutesPerDay
        return (minutes % minutesPerWeek + minutesPerWeek) % minutesPerWeek
    }

    /// Reads `07:30`, up to `24:00`.
    static func minute(ofDay text: String) -> Int? {
        let bytes = Array(text.utf8)
        guard bytes.count == 5, bytes[2] == UInt8(ascii: ":"), let hours = twoDigits(bytes[0...1]),
            let minutes = twoDigits(bytes[3...4]), minutes < 60
        else { return nil }
        let minute = hours * 60 + minutes
        return minute <= minutesPerDay ? minute : nil
    }

    /// Reads `+05:30` or `-08:00`: minutes east of UTC, -14:00 to +14:00.
    static func offset(_ text: String) -> Int? {
        guard let sign = text.utf8.first, sign == UInt8(ascii: "+") || sign == UInt8(ascii: "-"),
            let minutes = minute(ofDay: String(text.dropFirst())), minutes <= 14 * 60
        else { return nil }
        return sign == UInt8(ascii: "-") ? -minutes : minutes
    }

    private static func twoDigits(_ bytes: ArraySlice<UInt8>) -> Int? {
        guard bytes.allSatisfy({ $0 >= 0x30 && $0 <= 0x39 }) else { return nil }
        return bytes.reduce(0) { $0 * 10 + Int($1 - 0x30) }
    }
}
