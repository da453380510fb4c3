import Foundation

/// Numbers and dates for people.
enum Format {
    /// `1.5 MiB`
    static func bytes(_ count: Int) -> String {
        var value = Double(count)
        var unit = 0
        let units = ["B", "KiB", "MiB", "GiB", "TiB"]
        while value >= 1_024, unit < units.count - 1 {
            value /= 1_024
            unit += 1
        }
        return unit == 0 ? "\(count) B" : "\(decimals(value, 1)) \(units[unit])"
    }

    static func milliseconds(_ value: Double) -> String { "\(decimals(value, 1)) ms" }

    static func decimals(_ value: Double, _ count: Int) -> String {
        String(format: "%.\(count)f", value)
    }

    /// ISO 8601, UTC.
    static func date(_ date: Date) -> String { date.formatted(.iso8601) }
}
