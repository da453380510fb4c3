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

/// The first byte of an input names what was asked: `k` for a key, anything else for a sealing.
func readTransitAnswer(_ bytes: [UInt8]) {
    let body = Data(bytes.dropFirst())
    if bytes.first == UInt8(ascii: "k") {
        _ = TransitAnswer.key(body)
    } else if let ciphertext = TransitAnswer.sealed(body) {
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
