import Attestation
import HomomorphicEncryption
import KeyManagement
import ServiceKit

extension ParametersBody {
    init(_ parameters: EncryptionParameters) {
        self.init(
            scheme: parameters.scheme == .ckks ? "ckks" : "bfv", logN: parameters.logN, q: parameters.q,
            p: parameters.p, alpha: parameters.alpha, t: parameters.scheme == .bfv ? parameters.t : nil)
    }
}

extension KeySetInfo {
    init(_ description: KeySetDescription) {
        let manifest = description.manifest
        let objects = manifest.objects.map {
            Object(name: $0.name, galois: $0.galois, level: $0.level, bytes: $0.bytes, digest: $0.digest.hex)
        }
        self.init(
            id: manifest.keySet, state: description.state.rawValue, mode: manifest.sealing.mode.rawValue,
            tenant: manifest.tenant,
            owner: Owner(
                kind: manifest.owner.kind.rawValue, issuer: manifest.owner.issuer, subject: manifest.owner.subject),
            created: manifest.dates.created, activated: manifest.dates.activated, destroyed: description.destroyed,
            shredded: description.shredded,
            kms: KMS(
                provider: manifest.sealing.provider, key: manifest.sealing.keyName,
                keyVersion: manifest.sealing.keyVersion, authority: manifest.sealing.authority?.rawValue),
            suite: manifest.suite, generation: manifest.generation, parameters: ParametersBody(manifest.parameters),
            parameterDigest: manifest.parameterDigest.hex, manifestVersion: manifest.version,
            manifestDigest: description.manifestDigest.hex, model: manifest.profile?.model,
            release: manifest.policy.release.rawValue, flooding: manifest.policy.flooding.map { FloodingBody($0) },
            decryptAny: manifest.policy.decryptAny,
            exposed: description.exposed, tainted: description.tainted,
            counters: Counters(
                encryptions: description.counters.encryptions, decryptions: description.counters.decryptions,
                decryptionsLeft: description.counters.decryptionsLeft, failures: description.counters.failures),
            objects: objects,
            bytes: Sizes(
                publicKey: manifest.publicKey?.bytes ?? 0,
                evaluationKeys: manifest.objects.filter { $0.kind != .publicKey }.reduce(0) { $0 + $1.bytes },
                sealedSeed: description.sealedSeedBytes))
    }
}

extension DestroyResponse {
    init(_ destruction: Destruction) {
        let meaning: String
        switch destruction.erasure {
        case .tombstoned:
            meaning =
                "HKMS never uses this key set again and has removed its objects. Whoever kept a copy of the sealed "
                + "seed and may use the KMS key could still open it, until that key is destroyed."
        case .shredded:
            meaning = "Every KMS key, or version of one, that sealed the seed is destroyed: nobody can open it again."
        }
        self.init(
            keySet: destruction.keySet, state: "destroyed", erasure: destruction.erasure.rawValue,
            date: destruction.date, meaning: meaning)
    }
}
