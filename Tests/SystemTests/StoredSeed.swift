import Attestation
import Crypto
import Foundation
import HomomorphicEncryption
import KeyManagement
import SecretKeys
import SecretMemory
import TestSupport
import TrustedKMSOpenBao
import TrustedKMSSoftware

/// The secrets behind a stored key set, as whoever holds KMS and storage together can open them.
struct StoredSeed {
    let seed: [UInt8]
    let dataKey: [UInt8]?

    /// - Parameter folder: that of the key set's objects.
    init(
        _ folder: URL, mode: ProtectionMode, installation: String, owner: String, parameters: EncryptionParameters,
        kms: any TrustedKMS, key: String
    ) async throws {
        func context(_ object: SealingContext.Object) -> SealingContext {
            SealingContext(
                installation: installation, tenant: "default",
                owner: KeySetOwner(kind: .user, issuer: "static", subject: owner), keySet: folder.lastPathComponent,
                parameters: parameters, suite: 1, origin: .derived, object: object, mode: mode)
        }
        func open(_ name: String, _ object: SealingContext.Object) async throws -> [UInt8] {
            let opened = try await kms.open(
                try Self.blob(folder.appendingPathComponent(name)), under: KMSKeyName(key)!, context: context(object),
                as: .service)
            return opened.withUnsafeBytes { Array($0) }
        }
        guard mode == .envelope else {
            seed = try await open("sealed-seed", .seed)
            dataKey = nil
            return
        }
        let dataKey = try await open("sealed-data-key", .dataKey)
        self.dataKey = dataKey
        seed = try Self.unsealed(folder, dataKey: dataKey, context: context(.seed))
    }

    /// The seed of a key set in envelope mode, from its data key.
    static func unsealed(_ folder: URL, dataKey: [UInt8], context: SealingContext) throws -> [UInt8] {
        let box = try AES.GCM.SealedBox(combined: blob(folder.appendingPathComponent("sealed-seed")).bytes)
        return Array(try AES.GCM.open(box, using: SymmetricKey(data: dataKey), authenticating: context.bytes))
    }

    /// docs/formats.md, sealed objects: 20 bytes in front, 32 behind.
    private static func blob(_ file: URL) throws -> KMSSealedBlob {
        let bytes = Array(try Data(contentsOf: file))
        let version = (0..<4).reduce(0) { $0 | Int(bytes[12 + $1]) << (8 * $1) }
        return KMSSealedBlob(
            bytes: Array(bytes[20..<bytes.count - 32]), keyVersion: version == 0 ? nil : version)
    }
}

extension Installation {
    /// The software KMS of this installation, as whoever has its passphrase opens it.
    func softwareKMS() throws -> SoftwareKMS {
        try SoftwareKMS(
            opening: folder.appendingPathComponent("keystore.json").path,
            passphrase: SecretFile.read(folder.appendingPathComponent("keystore.passphrase").path))
    }
}

extension MemoryScanner {
    /// The seed, the data key, and the secret key in every form in which it is stored while it is used.
    init(_ keys: [(name: String, bytes: [UInt8])], seed: [UInt8]?, parameters: EncryptionParameters) throws {
        self.init()
        for key in keys {
            secrets.add(secret: key.bytes, key.name)
            // HMAC keeps its key xored with these (RFC 2104).
            secrets.addWindows("\(key.name), HMAC inner pad", key.bytes.map { $0 ^ 0x36 })
            secrets.addWindows("\(key.name), HMAC outer pad", key.bytes.map { $0 ^ 0x5C })
        }
        guard let seed else { return }
        guard let seed = Seed(try SecretBytes(copying: seed)) else { return }
        let context = try EncryptionContext.shared(parameters)
        let key = try seed.secretKey(context)
        secrets.addWindows("secret key, packed", key.packed.withUnsafeBytes { Array($0) })
        // Modulo the special primes too, where s is for as long as an evaluation key is made.
        for modulus in context.keyBasis(level: context.maximumLevel).moduli {
            var row = [UInt64](repeating: 0, count: context.degree)
            row.withUnsafeMutableBufferPointer { key.expand(modulus, into: $0.baseAddress!) }
            secrets.addWindows("secret key, transformed", row.withUnsafeBytes { Array($0) }, stride: 8)
            var inverse = row
            inverse.withUnsafeMutableBufferPointer { modulus.inverseTransform($0.baseAddress!) }
            // Eight coefficients, the first of them and another -1, which as a residue is a number that memory is not
            // full of. Once alone, between zeros, it may be anything: memory has numbers of few bits.
            let minusOne = modulus.value - 1
            for start in 0..<inverse.count - 8
            where inverse[start] == minusOne && inverse[start + 1..<start + 8].contains(minusOne) {
                secrets.add("secret key, expanded", inverse[start..<start + 8].withUnsafeBytes { Array($0) })
            }
        }
    }
}
