import Crypto
import Foundation
import SwiftASN1
import Testing
import TransportSecurity
import X509

/// What a peer's certificate says of the peer.
@Suite struct PeerCertificateTests {
    private static func certificate(_ names: [GeneralName], _ time: Date) throws -> [UInt8] {
        let key = P256.Signing.PrivateKey()
        let subject = try DistinguishedName { CommonName("common.test") }
        let certificate = try Certificate(
            version: .v3, serialNumber: .init(), publicKey: .init(key.publicKey), notValidBefore: time,
            notValidAfter: time.addingTimeInterval(3600), issuer: subject, subject: subject,
            signatureAlgorithm: .ecdsaWithSHA256,
            extensions: try Certificate.Extensions { SubjectAlternativeNames(names) }, issuerPrivateKey: .init(key))
        var serializer = DER.Serializer()
        try serializer.serialize(certificate)
        return serializer.serializedBytes
    }

    @Test("callers are known by URIs and DNS names, not by what is written like one of them, nor by common names")
    func names() throws {
        let time = Date(timeIntervalSince1970: 1_800_000_000)
        let der = try Self.certificate(
            [
                .uniformResourceIdentifier("spiffe://test/a"), .dnsName("a.test"), .dnsName("spiffe://test/b"),
                .uniformResourceIdentifier("b.test"), .rfc822Name("c.test"),
            ], time)
        let peer = try #require(PeerCertificate(der: der))
        #expect(Set(peer.caller.names) == ["spiffe://test/a", "a.test"])
        #expect(peer.names.contains("spiffe://test/a") && peer.names.contains("a.test"))
        for name in ["spiffe://test/b", "b.test", "c.test", "common.test", ""] { #expect(!peer.names.contains(name)) }
        #expect(peer.thumbprint == Array(SHA256.hash(data: der)) && peer.caller.thumbprint == peer.thumbprint)
        #expect(PeerCertificate(der: []) == nil && PeerCertificate(der: Array(der.dropLast())) == nil)
    }

    @Test("a certificate counts from its first second to its last")
    func times() throws {
        let time = Date(timeIntervalSince1970: 1_800_000_000)
        let peer = try #require(PeerCertificate(der: Self.certificate([.dnsName("a.test")], time)))
        for (offset, isValid) in [(-1.0, false), (0, true), (3600, true), (3601, false)] {
            #expect(peer.isValid(at: time.addingTimeInterval(offset)) == isValid, "\(offset)")
        }
    }
}
