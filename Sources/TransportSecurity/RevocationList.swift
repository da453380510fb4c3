import SwiftASN1
import X509

#if canImport(FoundationEssentials)
    import FoundationEssentials
#else
    import Foundation
#endif

/// A list of revoked certificates (RFC 5280 section 5): read strictly, and signed by nobody yet.
///
/// Whole lists of their own issuer alone are taken: partial, delta and indirect ones say so by extensions that are
/// critical, and every critical extension is refused.
public struct RevocationList: Sendable, Equatable {
    /// Why bytes are no list that is taken.
    public enum Fault: Error, Equatable, CustomStringConvertible {
        case tooLong
        case notPEM
        case notDER
        case version
        case algorithm
        case times
        case criticalExtension

        public var description: String {
            switch self {
            case .tooLong: "it is longer than \(RevocationList.maximumBytes) bytes"
            case .notPEM: "it is not one PEM block \"X509 CRL\""
            case .notDER: "it is not a CertificateList in DER"
            case .version: "it has members that its version has not"
            case .algorithm: "it is signed by an algorithm that is not known, or names two"
            case .times: "it does not say when the next one comes, or that is before it was made"
            case .criticalExtension: "it has a critical extension, as partial, delta and indirect lists do"
            }
        }
    }

    /// A file is no longer than this: about 400 000 certificates.
    public static let maximumBytes = 16 << 20

    /// Who signed it, and issued the certificates in it.
    public let issuer: DistinguishedName
    public let thisUpdate: Date
    /// When the next one is there at the latest; this one tells nothing from then on.
    public let nextUpdate: Date
    /// Serial numbers, without zeros in front.
    private let serials: Set<[UInt8]>
    private let signed: [UInt8]
    private let signature: [UInt8]
    private let algorithm: Certificate.SignatureAlgorithm

    /// - Parameter bytes: a file: one PEM block, or DER; any bytes.
    public init(_ bytes: [UInt8]) throws(Fault) {
        guard bytes.count <= Self.maximumBytes else { throw .tooLong }
        guard bytes.starts(with: Array("-----BEGIN".utf8)) else {
            try self.init(der: bytes)
            return
        }
        guard let text = String(validating: bytes, as: UTF8.self),
            let documents = try? PEMDocument.parseMultiple(pemString: text), documents.count == 1,
            documents[0].discriminator == "X509 CRL"
        else { throw .notPEM }
        try self.init(der: documents[0].derBytes)
    }

    private init(der: [UInt8]) throws(Fault) {
        do {
            let parsed = try Content(der: der)
            issuer = parsed.issuer
            thisUpdate = parsed.thisUpdate
            nextUpdate = parsed.nextUpdate
            serials = parsed.serials
            signed = parsed.signed
            signature = parsed.signature
            algorithm = parsed.algorithm
        } catch let fault as Fault {
            throw fault
        } catch { throw .notDER }
    }

    /// The number of certificates that it revokes.
    public var count: Int { serials.count }

    /// Whether it revokes the certificate with this serial number.
    public func contains(_ serial: Certificate.SerialNumber) -> Bool {
        serials.contains(Content.withoutZeros(serial.bytes))
    }

    /// Whether it is the same list, to the bit.
    public static func == (left: Self, right: Self) -> Bool {
        left.signed == right.signed && left.signature == right.signature
    }

    /// Whether this authority signed it, and may sign lists.
    public func isSigned(by authority: Certificate) -> Bool {
        // An authority that says what its key is for has to say this, too (RFC 5280 section 4.2.1.3).
        let usage: KeyUsage?
        do { usage = try authority.extensions.keyUsage } catch { return false }
        guard authority.subject == issuer, usage?.cRLSign ?? true else { return false }
        return authority.publicKey.isValidSignature(signature, for: signed, signatureAlgorithm: algorithm)
    }
}

/// What stands in a list.
private struct Content {
    let issuer: DistinguishedName
    let thisUpdate: Date
    let nextUpdate: Date
    let serials: Set<[UInt8]>
    let signed: [UInt8]
    let signature: [UInt8]
    let algorithm: Certificate.SignatureAlgorithm

    init(der: [UInt8]) throws {
        self = try DER.sequence(try DER.parse(der), identifier: .sequence) { nodes in
            guard let signed = nodes.next(), let outer = nodes.next() else { throw RevocationList.Fault.notDER }
            let signature = try ASN1BitString(derEncoded: &nodes)
            guard signature.paddingBits == 0, let algorithm = Self.algorithm(outer) else {
                throw RevocationList.Fault.algorithm
            }
            return try Self(
                signed, outerAlgorithm: outer, algorithm: algorithm, signature: Array(signature.bytes))
        }
    }

    private init(
        _ node: ASN1Node, outerAlgorithm: ASN1Node, algorithm: Certificate.SignatureAlgorithm, signature: [UInt8]
    ) throws {
        self = try DER.sequence(node, identifier: .sequence) { nodes in
            var next = nodes.next()
            var isVersion2 = false
            if let node = next, node.identifier == .integer {
                guard try Int(derEncoded: node) == 1 else { throw RevocationList.Fault.version }
                isVersion2 = true
                next = nodes.next()
            }
            // Else another algorithm than the one that is named under the signature could be put beside it.
            guard let inner = next, inner.encodedBytes == outerAlgorithm.encodedBytes else {
                throw RevocationList.Fault.algorithm
            }
            guard let name = nodes.next() else { throw RevocationList.Fault.notDER }
            let issuer = try DistinguishedName(derEncoded: name)
            guard let made = nodes.next(), let following = nodes.next(), let thisUpdate = try Self.time(made),
                let nextUpdate = try Self.time(following), thisUpdate < nextUpdate
            else { throw RevocationList.Fault.times }
            var serials: Set<[UInt8]> = []
            next = nodes.next()
            if let node = next, node.identifier == .sequence {
                serials = try Self.serials(node, mayHaveExtensions: isVersion2)
                next = nodes.next()
            }
            if let node = next {
                guard isVersion2 else { throw RevocationList.Fault.version }
                try Self.checkTagged(node)
            }
            return Self(
                issuer: issuer, thisUpdate: thisUpdate, nextUpdate: nextUpdate, serials: serials,
                signed: Array(node.encodedBytes), signature: signature, algorithm: algorithm)
        }
    }

    private init(
        issuer: DistinguishedName, thisUpdate: Date, nextUpdate: Date, serials: Set<[UInt8]>, signed: [UInt8],
        signature: [UInt8], algorithm: Certificate.SignatureAlgorithm
    ) {
        self.issuer = issuer
        self.thisUpdate = thisUpdate
        self.nextUpdate = nextUpdate
        self.serials = serials
        self.signed = signed
        self.signature = signature
        self.algorithm = algorithm
    }

    private static func serials(_ list: ASN1Node, mayHaveExtensions: Bool) throws -> Set<[UInt8]> {
        guard case .constructed(let entries) = list.content else { throw RevocationList.Fault.notDER }
        var serials: Set<[UInt8]> = []
        for entry in entries {
            let serial = try DER.sequence(entry, identifier: .sequence) { nodes in
                let serial = try ArraySlice<UInt8>(derEncoded: &nodes)
                guard let revoked = nodes.next(), try time(revoked) != nil else { throw RevocationList.Fault.times }
                if let extensions = nodes.next() {
                    guard mayHaveExtensions else { throw RevocationList.Fault.version }
                    try checkExtensions(extensions)
                }
                return serial
            }
            serials.insert(withoutZeros(serial))
        }
        // A list of none is left out (RFC 5280 section 5.1.2.6).
        guard !serials.isEmpty else { throw RevocationList.Fault.notDER }
        return serials
    }

    /// `[0] EXPLICIT Extensions`.
    private static func checkTagged(_ node: ASN1Node) throws {
        guard node.identifier == ASN1Identifier(tagWithNumber: 0, tagClass: .contextSpecific),
            case .constructed(let members) = node.content
        else { throw RevocationList.Fault.notDER }
        var iterator = members.makeIterator()
        guard let extensions = iterator.next(), iterator.next() == nil else { throw RevocationList.Fault.notDER }
        try checkExtensions(extensions)
    }

    private static func checkExtensions(_ node: ASN1Node) throws {
        let extensions = try DER.sequence(of: Certificate.Extension.self, identifier: .sequence, rootNode: node)
        guard !extensions.isEmpty else { throw RevocationList.Fault.notDER }
        guard extensions.allSatisfy({ !$0.critical }) else { throw RevocationList.Fault.criticalExtension }
    }

    /// - Returns: nil for what is no time.
    private static func time(_ node: ASN1Node) throws -> Date? {
        switch node.identifier {
        case .utcTime:
            let time = try UTCTime(derEncoded: node)
            return date((time.year, time.month, time.day), (time.hours, time.minutes, time.seconds))
        case .generalizedTime:
            let time = try GeneralizedTime(derEncoded: node)
            return date((time.year, time.month, time.day), (time.hours, time.minutes, time.seconds))
        default: return nil
        }
    }

    /// Days since 1970 in the Gregorian calendar, counted from March so that a leap day is a year's last.
    private static func date(_ day: (Int, Int, Int), _ time: (Int, Int, Int)) -> Date {
        let year = day.1 <= 2 ? day.0 - 1 : day.0
        let era = year / 400
        let yearOfEra = year - era * 400
        let dayOfYear = (153 * ((day.1 + 9) % 12) + 2) / 5 + day.2 - 1
        let days = era * 146_097 + yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + dayOfYear - 719_468
        return Date(timeIntervalSince1970: Double(days * 86_400 + time.0 * 3_600 + time.1 * 60 + time.2))
    }

    static func withoutZeros(_ bytes: ArraySlice<UInt8>) -> [UInt8] { Array(bytes.drop { $0 == 0 }) }

    /// The algorithms that are known, by their identifier; RSA's parameters may be missing (RFC 4055 section 5).
    private static func algorithm(_ node: ASN1Node) -> Certificate.SignatureAlgorithm? {
        let parsed = try? DER.sequence(node, identifier: .sequence) { nodes in
            let name = try ASN1ObjectIdentifier(derEncoded: &nodes)
            return (name, nodes.next())
        }
        guard let (name, parameters) = parsed else { return nil }
        let isNull = parameters.map { $0.identifier == .null } ?? true
        switch name.description {
        case "1.2.840.10045.4.3.2": return parameters == nil ? .ecdsaWithSHA256 : nil
        case "1.2.840.10045.4.3.3": return parameters == nil ? .ecdsaWithSHA384 : nil
        case "1.2.840.10045.4.3.4": return parameters == nil ? .ecdsaWithSHA512 : nil
        case "1.3.101.112": return parameters == nil ? .ed25519 : nil
        case "1.2.840.113549.1.1.11": return isNull ? .sha256WithRSAEncryption : nil
        case "1.2.840.113549.1.1.12": return isNull ? .sha384WithRSAEncryption : nil
        case "1.2.840.113549.1.1.13": return isNull ? .sha512WithRSAEncryption : nil
        default: return nil
        }
    }
}
