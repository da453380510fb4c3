import Foundation
import KeyManagement
import TrustedKMSOpenBao
import TrustedKMSPKCS11
import TrustedKMSSoftware

/// An answer of the KMS, searched as the adapter does.
func readSecretJSON(_ bytes: [UInt8]) {
    bytes.withUnsafeBytes { body in
        _ = try? SecretJSON.integer("data", "latest_version", in: body)
        _ = try? SecretJSON.boolean("auth", "renewable", in: body)
        guard let text = try? SecretJSON.string("data", "plaintext", in: body) else { return }
        _ = try? SecretBase64.decode(text)
    }
}

func readSecretBase64(_ bytes: [UInt8]) {
    let decoded = bytes.withUnsafeBytes { text -> Data? in
        guard let secret = try? SecretBase64.decode(text) else { return nil }
        return secret.withUnsafeBytes { Data($0) }
    }
    guard let decoded else { return }
    precondition(Array(decoded.base64EncodedString().utf8) == bytes, "canonical base64 and nothing else")
}

func readTransitCiphertext(_ bytes: [UInt8]) {
    guard let ciphertext = TransitCiphertext(bytes) else { return }
    precondition(Array(ciphertext.text.utf8) == bytes, "one ciphertext has one form")
}

func readKeystore(_ bytes: [UInt8]) {
    _ = try? KeystoreDocument(parsing: Data(bytes), path: "keystore.json")
}

func readLoginAnswer(_ bytes: [UInt8]) {
    let entity = bytes.withUnsafeBytes { body in (try? LoginAnswer(body))?.entity }
    precondition(entity != "", "an entity has an id")
}

func readRetryAfter(_ bytes: [UInt8]) {
    let text = String(decoding: bytes, as: UTF8.self)
    guard let seconds = RetryAfter.seconds(text, now: 1_800_000_000) else { return }
    precondition(seconds >= 0, "nobody waits for the past")
}

func readStorageIndex(_ bytes: [UInt8]) {
    let text = String(decoding: bytes, as: UTF8.self)
    guard let index = StorageIndex(text) else { return }
    precondition(index.header == text, "it is sent back as it came")
    _ = index.replaces(index)
}

/// The first byte of an input names what was asked: `k` for a key, `b` for a batch, `s` for a signature, `p` for
/// privileges, anything else for a sealing.
func readTransitAnswer(_ bytes: [UInt8]) {
    let body = Data(bytes.dropFirst())
    switch bytes.first {
    case UInt8(ascii: "k"):
        let publicKey = TransitAnswer.key(body)?.publicKey
        precondition(publicKey.map { $0.count == 32 } ?? true, "a public key has 32 bytes")
    case UInt8(ascii: "b"): _ = TransitAnswer.batch(body)
    case UInt8(ascii: "p"): _ = TransitAnswer.capabilities(body)
    case UInt8(ascii: "s"):
        let signature = TransitAnswer.signature(body)
        precondition(signature.map { $0.count == 64 } ?? true, "a signature has 64 bytes")
    default:
        guard let ciphertext = TransitAnswer.sealed(body) else { return }
        precondition(TransitCiphertext(ciphertext.text.utf8)?.text == ciphertext.text, "what is sealed is opened")
    }
}

func readSoftwareBlob(_ bytes: [UInt8]) {
    guard let blob = SoftwareBlob(parsing: KMSSealedBlob(bytes: bytes, keyVersion: nil)) else { return }
    let written = SoftwareBlob.encode(version: blob.version, box: Array(blob.box))
    precondition(written.bytes == bytes, "one blob has one form")
}

func readPKCS11Blob(_ bytes: [UInt8]) {
    guard let blob = PKCS11Blob(parsing: bytes) else { return }
    precondition(blob.sealed.bytes == bytes, "one blob has one form")
    precondition(blob.version.number >= 1, "versions begin with 1")
}

func readPKCS11URI(_ bytes: [UInt8]) {
    guard let uri = try? PKCS11URI(bytes: bytes) else { return }
    precondition(uri.modulePath.hasPrefix("/") && uri.pinFile?.hasPrefix("/") != false, "paths are absolute")
    precondition(uri.token != nil || uri.serial != nil || uri.slotID != nil, "a URI names a token")
    precondition(!uri.modulePath.utf8.contains(0), "no path ends early")
}
