/// Finds numbers in JSON that are not written as integers.
///
/// A decoder takes 1.0 and 9007199254740993.0 for integers, the second rounded to a Double: whoever promises exact
/// integers looks at the text first.
public enum JSONIntegers {
    /// The first number with a fraction or an exponent, as it is written.
    /// - Parameters:
    ///   - bytes: any bytes; of what is no JSON anything may be found.
    ///   - members: only within these members of the outermost object; everywhere where nil.
    /// - Returns: at most 40 characters.
    public static func firstOther(in bytes: [UInt8], members: Set<String>? = nil) -> String? {
        var depth = 0
        var isWithin = members == nil
        var index = 0
        while index < bytes.count {
            switch bytes[index] {
            case UInt8(ascii: "{"), UInt8(ascii: "["): depth += 1
            case UInt8(ascii: "}"), UInt8(ascii: "]"): depth -= 1
            case UInt8(ascii: "\""):
                let start = index + 1
                index = start
                var isEscaped = false
                while index < bytes.count, bytes[index] != UInt8(ascii: "\"") {
                    if bytes[index] == UInt8(ascii: "\\") {
                        isEscaped = true
                        index += 1
                    }
                    index += 1
                }
                // A name with escapes may be any name. What is no name is followed by no number.
                if let members, depth == 1 {
                    let end = min(index, bytes.count)
                    let name = String(decoding: bytes[min(start, end)..<end], as: UTF8.self)
                    isWithin = isEscaped || members.contains(name)
                }
            case UInt8(ascii: "-"), UInt8(ascii: "0")...UInt8(ascii: "9"):
                let start = index
                while index + 1 < bytes.count, isOfNumber(bytes[index + 1]) { index += 1 }
                if isWithin, bytes[start...index].contains(where: isOfFraction) {
                    return String(decoding: bytes[start...index].prefix(40), as: UTF8.self)
                }
            default: break
            }
            index += 1
        }
        return nil
    }

    private static func isOfNumber(_ byte: UInt8) -> Bool {
        (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) || isOfFraction(byte)
            || byte == UInt8(ascii: "-") || byte == UInt8(ascii: "+")
    }

    private static func isOfFraction(_ byte: UInt8) -> Bool {
        byte == UInt8(ascii: ".") || byte == UInt8(ascii: "e") || byte == UInt8(ascii: "E")
    }
}
