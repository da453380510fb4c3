#if canImport(Darwin)
    import Darwin
#elseif canImport(Musl)
    import Musl
#else
    import Glibc
#endif

/// A moment in microseconds since 1970, UTC, years 1970 to 9999; in a line `2026-11-21T21:39:54.000123Z`.
public struct AuditTime: Sendable, Hashable, Comparable, CustomStringConvertible {
    public let microseconds: Int

    private static let range = 0...253_402_300_799_999_999

    public init(microseconds: Int) {
        self.microseconds = min(max(microseconds, Self.range.lowerBound), Self.range.upperBound)
    }

    public static func now() -> AuditTime {
        var time = timespec()
        clock_gettime(CLOCK_REALTIME, &time)
        return AuditTime(microseconds: Int(time.tv_sec) * 1_000_000 + Int(time.tv_nsec) / 1000)
    }

    public static func < (left: AuditTime, right: AuditTime) -> Bool { left.microseconds < right.microseconds }

    public var description: String {
        let (day, rest) = microseconds.quotientAndRemainder(dividingBy: 86_400_000_000)
        let date = Self.date(day: day)
        func digits(_ value: Int, _ count: Int) -> String {
            let text = String(value)
            return String(repeating: "0", count: max(0, count - text.utf8.count)) + text
        }
        let seconds = rest / 1_000_000
        return digits(date.year, 4) + "-" + digits(date.month, 2) + "-" + digits(date.day, 2) + "T"
            + digits(seconds / 3600, 2) + ":" + digits(seconds / 60 % 60, 2) + ":" + digits(seconds % 60, 2) + "."
            + digits(rest % 1_000_000, 6) + "Z"
    }

    /// - Returns: nil unless the text is of the form above, to the microsecond, or `2026-11-21` or
    ///   `2026-11-21T21:39:54Z`.
    public init?(_ text: String) {
        let bytes = Array(text.utf8)
        func number(_ range: Range<Int>) -> Int? {
            guard range.upperBound <= bytes.count, bytes[range].allSatisfy({ (0x30...0x39).contains($0) }) else {
                return nil
            }
            return bytes[range].reduce(0) { $0 * 10 + Int($1 - 0x30) }
        }
        guard [10, 20, 27].contains(bytes.count), let year = number(0..<4), let month = number(5..<7),
            let day = number(8..<10), (1970...9999).contains(year), (1...12).contains(month)
        else { return nil }
        var total = (Self.day(year: year, month: month) + day - 1) * 86_400
        var micros = 0
        if bytes.count > 10 {
            guard let hour = number(11..<13), let minute = number(14..<16), let second = number(17..<19), hour < 24,
                minute < 60, second < 60
            else { return nil }
            total += hour * 3600 + minute * 60 + second
            if bytes.count == 27 {
                guard let fraction = number(20..<26) else { return nil }
                micros = fraction
            }
        }
        self.init(microseconds: total * 1_000_000 + micros)
        let whole = description
        let expected: String
        switch bytes.count {
        case 10: expected = whole.prefix(10) + ""
        case 20: expected = whole.prefix(19) + "Z"
        default: expected = whole
        }
        // Separators, and days that a month does not have.
        guard expected == text else { return nil }
    }

    /// Days since 1970 of the first day of a month: those of a year's months since March are the same in every year.
    private static func day(year: Int, month: Int) -> Int {
        let shifted = month > 2 ? year : year - 1
        let index = (month + 9) % 12
        return shifted * 365 + shifted / 4 - shifted / 100 + shifted / 400 + (153 * index + 2) / 5 - 719_468
    }

    private static func date(day: Int) -> (year: Int, month: Int, day: Int) {
        var year = 1970 + day / 366
        while self.day(year: year + 1, month: 1) <= day { year += 1 }
        var month = 12
        while self.day(year: year, month: month) > day { month -= 1 }
        return (year, month, day - self.day(year: year, month: month) + 1)
    }
}
