import Crypto
import Foundation
import SwiftASN1
import X509

/// A certificate authority for a start: it names the servers of one installation, until the company's own does.
struct StarterAuthority {
    private let key: Certificate.PrivateKey
    private let certificate: Certificate
    private let now: Date

    private static let authorityYears = 10
    private static let leafDays = 397

    /// - Parameter installation: stands in the authority's name.
    init(installation: String, now: Date = Date()) throws {
        self.now = now
        key = Certificate.PrivateKey(P256.Signing.PrivateKey())
        let name = try DistinguishedName { CommonName("HKMS \(installation) authority") }
        certificate = try Certificate(
            version: .v3, serialNumber: .init(), publicKey: key.publicKey, notValidBefore: now.addingTimeInterval(-300),
            notValidAfter: now.addingTimeInterval(Double(Self.authorityYears) * 365 * 86_400), issuer: name,
            subject: name,
            extensions: try Certificate.Extensions {
                Critical(BasicConstraints.isCertificateAuthority(maxPathLength: 0))
                Critical(KeyUsage(keyCertSign: true, cRLSign: true))
            },
            issuerPrivateKey: key)
    }

    /// The authority's certificate and key, PEM.
    func serialized() throws -> (certificate: String, key: String) {
        (try certificate.serializeAsPEM().pemString, try key.serializeAsPEM().pemString)
    }

    /// A certificate for a server of ours, which is also what it shows to others.
    /// - Parameters:
    ///   - uri: names the server to those who pin it.
    ///   - host: a DNS name or an address under which it is reached, beside this machine's own.
    func issue(uri: String, host: String) throws -> (certificate: String, key: String) {
        let leafKey = Certificate.PrivateKey(P256.Signing.PrivateKey())
        var names: [GeneralName] = [
            .uniformResourceIdentifier(uri), .dnsName("localhost"), Self.address([127, 0, 0, 1]),
            Self.address(Array(repeating: 0, count: 15) + [1]),
        ]
        if let bytes = Self.addressBytes(host) {
            names.append(Self.address(bytes))
        } else if host != "localhost" {
            names.append(.dnsName(host))
        }
        let leaf = try Certificate(
            version: .v3, serialNumber: .init(), publicKey: leafKey.publicKey,
            notValidBefore: now.addingTimeInterval(-300),
            notValidAfter: now.addingTimeInterval(Double(Self.leafDays) * 86_400), issuer: certificate.subject,
            subject: try DistinguishedName { CommonName(String(uri.suffix(64))) },
            extensions: try Certificate.Extensions {
                Critical(BasicConstraints.notCertificateAuthority)
                Critical(KeyUsage(digitalSignature: true))
                try ExtendedKeyUsage([.serverAuth, .clientAuth])
                SubjectAlternativeNames(names)
            },
            issuerPrivateKey: key)
        return (try leaf.serializeAsPEM().pemString, try leafKey.serializeAsPEM().pemString)
    }

    private static func address(_ bytes: [UInt8]) -> GeneralName {
        .ipAddress(ASN1OctetString(contentBytes: bytes[...]))
    }

    /// The bytes of an IP address in text.
    private static func addressBytes(_ host: String) -> [UInt8]? {
        var v4 = in_addr()
        if inet_pton(AF_INET, host, &v4) == 1 { return withUnsafeBytes(of: v4) { Array($0) } }
        var v6 = in6_addr()
        if inet_pton(AF_INET6, host, &v6) == 1 { return withUnsafeBytes(of: v6) { Array($0) } }
        return nil
    }
}
