/// The value of the header `Retry-After` (RFC 9110, section 10.2.3).
package enum RetryAfter {
    /// - Parameter now: seconds since 1970.
    /// - Returns: seconds from `now`, 0 for a date that has passed; nil for what is neither seconds nor an IMF-fixdate.
    package static func seconds(_ text: String, now: Int) -> Int? {
        let bytes = Array(text.utf8)
        if let seconds = number(bytes[...], digits: 1...9) { return seconds }
        return date(bytes).map { max(0, $0 - now) }
    }

    private static let months = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ].map { Array($0.utf8) }

    /// Seconds since 1970 of `Sun, 06 Nov 1994 08:49:37 GMT`; the name of the day is not compared with the date.
    private static func date(_ text: [UInt8]) -> Int? {
        guard text.count == 29, text[3] == UInt8(ascii: ","), text[25...].elementsEqual(" GMT".utf8) else { return nil }
        for space in [4, 7, 11, 16] where text[space] != UInt8(ascii: " ") { return nil }
        for colon in [19, 22] where text[colon] != UInt8(ascii: ":") { return nil }
        guard let day = number(text[5..<7], digits: 2...2), (1...31).contains(day),
            let month = months.firstIndex(where: { $0.elementsEqual(text[8..<11]) }),
            let year = number(text[12..<16], digits: 4...4), year >= 1970,
            let hour = number(text[17..<19], digits: 2...2), hour < 24,
            let minute = number(text[20..<22], digits: 2...2), minute < 60,
            let second = number(text[23..<25], digits: 2...2), second <= 60
        else { return nil }
        // Years start in March, so that the leap day is the last.
        let shifted = month < 2 ? year - 1 : year
        let dayOfYear = (153 * ((month + 10) % 12) + 2) / 5 + day - 1
        let days = shifted * 365 + shifted / 4 - shifted / 100 + shifted / 400 + dayOfYear - 719_468
        return ((days * 24 + hour) * 60 + minute) * 60 + second
    }

    private static func number(_ text: ArraySlice<UInt8>, digits: ClosedRange<Int>) -> Int? {
        guard digits.contains(text.count), text.allSatisfy({ (0x30...0x39).contains($0) }) else { return nil }
        return text.reduce(0) { $0 * 10 + Int($1 - 0x30) }
    }
}
