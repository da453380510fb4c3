import AuditLog

/// Copies as messages of RFC 5424.
struct SyslogFormat: Sendable {
    /// 13 "log audit"; severity 5 "notice" for gaps, 6 "informational" for lines.
    private static let facility = 13

    /// Behind the time: HOSTNAME APP-NAME PROCID MSGID and no structured data.
    private let origin: String

    /// - Parameters: printable ASCII without spaces; the gateway stands in the place of the host's name.
    init(installation: String, gateway: String) {
        origin = "\(gateway.prefix(255)) hkms \(installation.prefix(128)) audit -"
    }

    /// One message. Its content is the line itself, which is ASCII, so that no byte order mark is needed.
    /// - Parameter time: when it is sent; that of the record is in the line.
    func message(_ copy: AuditCopy, time: AuditTime = .now()) -> [UInt8] {
        let priority = Self.facility * 8 + (copy.isGap ? 5 : 6)
        return Array("<\(priority)>1 \(time) \(origin) ".utf8) + copy.text
    }
}
