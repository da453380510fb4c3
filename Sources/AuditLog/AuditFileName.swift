/// Names in the folder of a log.
enum AuditFileName {
    static let lock = ".lock"
    private static let prefix = "audit-"
    private static let suffix = ".log"
    private static let digits = 16

    /// `audit-0000000000000001.log` for the file that begins with line 1.
    static func of(first sequence: Int) -> String {
        let text = String(sequence)
        return prefix + String(repeating: "0", count: max(0, digits - text.utf8.count)) + text + suffix
    }

    /// The number of the first line of a file of this name; nil for other names.
    static func first(in name: String) -> Int? {
        guard name.hasPrefix(prefix), name.hasSuffix(suffix),
            let sequence = Int(name.dropFirst(prefix.count).dropLast(suffix.count)), of(first: sequence) == name
        else { return nil }
        return sequence
    }

    /// For what was cut off a log in front of this line.
    static func torn(before sequence: Int, digest: String) -> String { "torn-\(sequence)-\(digest.prefix(16))" }
}
