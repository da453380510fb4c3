/// Callers who are known by a name in their client certificate, from a configuration file:
///
/// ```yaml
/// clientCertificates:
///   - name: spiffe://hospital.example/pacs   # a URI, or a DNS name
///     subject: pacs                          # default: the name
///     tenant: hospital-a                     # default: the gateway's
///     groups: [radiology]                    # default: none
/// ```
///
/// Names are compared byte by byte, a wildcard is a name like any other and can therefore not be configured.
public struct CertificateCallers: Sendable {
    /// The issuer of every principal that a certificate names.
    public static let issuer = "certificate"

    /// By the name's bytes: some texts of Swift are equal that are written with other bytes.
    private let principals: [[UInt8]: Principal]

    /// Nobody.
    public init() { principals = [:] }

    /// Reads `clientCertificates` of `section`; errors are collected by the document.
    /// - Parameter tenant: of callers for whom none is given.
    public init(_ section: YAMLSection, tenant: String) {
        var principals: [[UInt8]: Principal] = [:]
        var subjects: [[UInt8]: Principal] = [:]
        for entry in section.optionalSections("clientCertificates") {
            let name = entry.string("name")
            let subject = entry.string("subject", default: name)
            let ownTenant = entry.string("tenant", default: tenant)
            let groups = entry.strings("groups", default: [])
            guard entry.contains("name") else { continue }
            if !Self.isCertificateName(name) {
                entry.fail("name", "must be a URI such as spiffe://example.org/name, or a DNS name without a wildcard")
            }
            for (key, names) in [("subject", [subject]), ("tenant", [ownTenant]), ("groups", groups)]
            where entry.contains(key) && !names.allSatisfy(StaticTokenFile.isName) {
                entry.fail(key, "a name is 1 to 256 bytes without control characters")
            }
            let principal = Principal(issuer: Self.issuer, subject: subject, tenant: ownTenant, groups: groups)
            if principals.updateValue(principal, forKey: Array(name.utf8)) != nil {
                entry.fail("name", "is given twice; a name is one caller's")
            }
            if let other = subjects.updateValue(principal, forKey: Array(subject.utf8)), other != principal {
                entry.fail(
                    entry.contains("subject") ? "subject" : "name",
                    "is a subject of an earlier entry, with another tenant or other groups; one subject is one caller")
            }
        }
        self.principals = principals
    }

    /// Whether nobody is known.
    public var isEmpty: Bool { principals.isEmpty }

    /// - Returns: nil where no name of the certificate is known, and where its names are several callers'.
    public func principal(of certificate: ClientCertificate) -> Principal? {
        let named = Set(certificate.names.compactMap { principals[Array($0.utf8)] })
        return named.count == 1 ? named.first : nil
    }

    private static func isCertificateName(_ name: String) -> Bool {
        guard (1...256).contains(name.utf8.count) else { return false }
        if name.contains("://") { return name.utf8.allSatisfy { (0x21...0x7E).contains($0) } }
        return name.utf8.allSatisfy { byte in
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "."), UInt8(ascii: "_"):
                true
            default: false
            }
        }
    }
}
