import Crypto
import Foundation
import SwiftASN1
import X509

/// An authority, and the lists that it signs: put together by hand, so that each part can be wrong.
struct TestList {
    /// What stands in a list beside its frame.
    struct Parts {
        var version: Int? = 1
        var made = "200101000000Z"
        var ends: String? = "490101000000Z"
        var serials: [[UInt8]] = [[0x01, 0x02], [0x00, 0x80]]
        /// By object identifier, and whether they are critical.
        var extensions: [(String, Bool)] = [("2.5.29.20", false)]
        var entryExtensions: [(String, Bool)] = []
        var innerAlgorithm = "1.2.840.10045.4.3.2"
        var outerAlgorithm = "1.2.840.10045.4.3.2"
    }

    let key = P256.Signing.PrivateKey()
    let authority: Certificate

    init(mayRevoke: Bool? = true, name: String = "authority") throws {
        let subject = try DistinguishedName { CommonName(name) }
        let now = Date()
        authority = try Certificate(
            version: .v3, serialNumber: .init(), publicKey: .init(key.publicKey),
            notValidBefore: now.addingTimeInterval(-60), notValidAfter: now.addingTimeInterval(3600), issuer: subject,
            subject: subject, signatureAlgorithm: .ecdsaWithSHA256,
            extensions: try Certificate.Extensions {
                Critical(BasicConstraints.isCertificateAuthority(maxPathLength: nil))
                if let mayRevoke { Critical(KeyUsage(keyCertSign: true, cRLSign: mayRevoke)) }
            }, issuerPrivateKey: .init(key))
    }

    /// A certificate of the authority with this serial number, in DER.
    func certificate(serial: [UInt8]) throws -> [UInt8] {
        let leaf = try Certificate(
            version: .v3, serialNumber: .init(bytes: serial), publicKey: .init(P256.Signing.PrivateKey().publicKey),
            notValidBefore: Date().addingTimeInterval(-60), notValidAfter: Date().addingTimeInterval(3600),
            issuer: authority.subject, subject: try DistinguishedName { CommonName("leaf") },
            signatureAlgorithm: .ecdsaWithSHA256, extensions: .init(), issuerPrivateKey: .init(key))
        var serializer = DER.Serializer()
        try serializer.serialize(leaf)
        return serializer.serializedBytes
    }

    /// - Parameter change: of what is signed.
    func bytes(_ change: (inout Parts) -> Void = { _ in }) throws -> [UInt8] {
        var parts = Parts()
        change(&parts)
        var issuer = DER.Serializer()
        try issuer.serialize(authority.subject)
        func algorithm(_ name: String) throws -> [UInt8] { Self.sequence(try Self.identifier(name)) }
        var body: [UInt8] = []
        if let version = parts.version { body += [0x02, 0x01, UInt8(version)] }
        body += try algorithm(parts.innerAlgorithm) + issuer.serializedBytes + Self.time(parts.made)
        if let ends = parts.ends { body += Self.time(ends) }
        let entries = try parts.serials.map { serial in
            var entry = Self.tagged(0x02, serial) + Self.time("200101000000Z")
            if !parts.entryExtensions.isEmpty { entry += try Self.extensions(parts.entryExtensions) }
            return Self.sequence(entry)
        }
        if !entries.isEmpty { body += Self.sequence(entries.flatMap { $0 }) }
        if !parts.extensions.isEmpty { body += Self.tagged(0xA0, try Self.extensions(parts.extensions)) }
        let signed = Self.sequence(body)
        let signature = Array(try key.signature(for: signed).derRepresentation)
        return Self.sequence(signed + (try algorithm(parts.outerAlgorithm)) + Self.tagged(0x03, [0] + signature))
    }

    static func tagged(_ tag: UInt8, _ content: [UInt8]) -> [UInt8] {
        switch content.count {
        case ..<0x80: [tag, UInt8(content.count)] + content
        case ..<0x100: [tag, 0x81, UInt8(content.count)] + content
        default: [tag, 0x82, UInt8(content.count >> 8), UInt8(content.count & 0xFF)] + content
        }
    }

    static func sequence(_ content: [UInt8]) -> [UInt8] { tagged(0x30, content) }

    /// `UTCTime` for two digits of a year, `GeneralizedTime` for four.
    static func time(_ text: String) -> [UInt8] { tagged(text.count == 13 ? 0x17 : 0x18, Array(text.utf8)) }

    private static func identifier(_ text: String) throws -> [UInt8] {
        var serializer = DER.Serializer()
        try serializer.serialize(try ASN1ObjectIdentifier(dotRepresentation: Substring(text)))
        return serializer.serializedBytes
    }

    private static func extensions(_ list: [(String, Bool)]) throws -> [UInt8] {
        sequence(
            try list.flatMap { name, isCritical in
                sequence(
                    try identifier(name) + (isCritical ? [0x01, 0x01, 0xFF] : []) + tagged(0x04, [0x02, 0x01, 1]))
            })
    }
}
