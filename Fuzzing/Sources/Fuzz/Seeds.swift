import AccessPolicy
import Attestation
import Crypto
import EncryptedInference
import Foundation
import HTTPTypes
import HomomorphicEncryption
import KeyManagement
import RLWE
import SecretKeys
import SecretMemory
import ServiceKit

/// Good inputs for every parser, from which the fuzzers start.
enum Seeds {
    static func write(to folder: String) throws {
        for parser in Parser.allCases {
            let path = folder + "/" + parser.rawValue
            try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
            for (index, seed) in try seeds(parser).enumerated() {
                try Data(seed).write(to: URL(fileURLWithPath: "\(path)/seed-\(index)"))
            }
        }
    }

    private static func seeds(_ parser: Parser) throws -> [[UInt8]] {
        switch parser {
        case .ciphertext:
            [try fresh().flagged(3), header("CIPH", level: 1, parts: 3), header("CIPH", level: 3, parts: 2)]
        case .evaluationKey:
            [
                header("EVAL", kind: 3, level: 2, parts: 2), header("EVAL", kind: 4, galois: 3, level: 1, parts: 1),
                header("EVAL", kind: 5, level: 2, parts: 2), header("EVAL", kind: 3, level: 3, parts: 3),
            ]
        case .publicKey: [header("PUBK", kind: 2, level: 2), header("PUBK", kind: 2, level: 1)]
        case .sealedObject:
            [
                [1] + Array("HKMSSEAL".utf8) + [1, 0, 1, 1, 3, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3],
                [1] + Array("HKMSSEAL".utf8) + [1, 0, 2, 2, 0, 0, 0, 0, 0, 0, 0, 0] + [UInt8](repeating: 9, count: 60),
            ]
        case .metadataRow: rows

        case .auditLine: auditLines.map { text($0 + "\n") }
        case .circuitDescriptor:
            try [circuit, weighted].map {
                try APIJSON.encode(
                    IntegerCircuitDescriptor(CompiledIntegerCircuit(IntegerCircuit(parsing: text($0))), unit: "unit-1"))
            }
        case .envelope: [try SignedStatement(receipt(), by: SignedBy.key).serialized()]
        case .job: [try APIJSON.encode(job())]
        case .manifest: try manifests().map { try APIJSON.encode($0) }
        case .modelDescriptor: try modelDescriptors().map { try APIJSON.encode($0) }
        case .planRequest: try planRequests()
        case .receipt: [try APIJSON.encode(receipt())]

        case .accessPolicy: [text(Policy.builtInText), text(policy)]
        case .auditConfiguration: [text(audit)]
        case .gatewayConfiguration: [text(gateway)]
        case .kmsConfiguration:
            [text(softwareKMS), text(openBao), text(appRole), text(delegated), text(pkcs11)]
        case .tokens: [text(tokens)]
        case .unitConfiguration: [text(unit)]
        case .yaml: [text(yaml), text(tokens), text("a: [b, {c: 1}]\n? x\n: |\n  y\n"), text("a: &b 1\nc: *b\n")]

        case .answer: try answers()
        case .authorization: ["Bearer \(KnownToken.text)", "bearer x", "Basic QTpC"].map(text)
        case .octetBundle:
            [OctetBundle.encode([]), OctetBundle.encode([[1, 2, 3], [], [UInt8](repeating: 5, count: 40)])]
        case .problem:
            [
                Problem(name: "busy", title: "Busy", status: 503, detail: "d", fix: "f", retryAfterSeconds: 5)
                    .with(instance: "i").encoded()
            ]
        case .request: try requests()
        case .requestSignature: [try signature()]
        case .revocationList:
            [text(revocationList), Array(Data(base64Encoded: firstRevocationList) ?? Data())]
        case .traceContext:
            [
                text(
                    "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\nrojo=00f067aa0ba902b7,congo=t61rcWkgMzE"),
                text("cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00-x\na@b=c d ,\te=f"),
            ]
        case .serverTiming: [text("seal;dur=12.5, open;desc=\"a, \\\"b\";dur=3;x"), text("a;dur=\"1e3\"")]

        case .keystore: [text(keystore)]
        case .loginAnswer:
            [
                text(
                    #"{"data": null, "auth": {"client_token": "s.abc", "policies": ["p"], "metadata": {"role": "p"}, "#
                        + #""lease_duration": 60, "renewable": true, "entity_id": "fbf7b452", "num_uses": 1}}"#)
            ]
        case .retryAfter: ["7", "0", "Sun, 06 Nov 1994 08:49:37 GMT", "Wed, 29 Feb 2040 23:59:60 GMT"].map(text)
        case .secretBase64: ["", "QQ==", "QUI=", "QUJD", "/+09azAZ"].map(text)
        case .secretJSON:
            [
                text(#"{"request_id": "x", "data": {"plaintext": "QUJD", "latest_version": 3}, "warnings": null}"#),
                text(#"{"auth": {"client_token": "a\n", "renewable": true}, "data": [1.5e-3, {}, [], false]}"#),
            ]
        case .pkcs11Blob:
            [
                text("HKP1") + [1, 12, 0, 0, 0, 1] + [UInt8](repeating: 7, count: 8 + 12 + 32 + 16),
                text("HKP1") + [3, 4, 0, 0, 0, 2] + [UInt8](repeating: 7, count: 56),
                text("HKP1") + [5, 12, 0, 0, 1, 2] + [UInt8](repeating: 7, count: 8 + 48),
            ]
        case .pkcs11URI:
            [
                text("pkcs11:token=hkms;serial=0a%201f?module-path=/usr/lib/softhsm/libsofthsm2.so"),
                text("pkcs11:slot-id=3;model=m;manufacturer=M%26N?module-path=/m.so&pin-source=file:/etc/hkms/pin"),
            ]
        case .softwareBlob: [text("HKS1") + [0, 0, 0, 2] + [UInt8](repeating: 7, count: 60)]
        case .storageIndex: [text("eyJjbHVzdGVyIjoiYyIsInZhbHVlIjoiMTQzIn0=")]
        case .transitAnswer:
            [
                text(#"e{"request_id": "x", "data": {"ciphertext": "vault:v1:QUJD", "key_version": 1}}"#),
                text(
                    #"k{"data": {"type": "aes256-gcm96", "derived": true, "convergent_encryption": false, "#
                        + #""latest_version": 3, "min_decryption_version": 1, "keys": {"1": 1767323045}}}"#),
                text(
                    #"k{"data": {"type": "ed25519", "latest_version": 1, "min_decryption_version": 1, "keys": "#
                        + #"{"1": {"public_key": "lS++Q2F0KW3HMzJaEfJV4ewP/CUb76X8H7oWVtAYbfI="}}}}"#),
                text(
                    #"b{"data": {"batch_results": [{"ciphertext": "vault:v1:QUJD", "key_version": 1}, "#
                        + #"{"error": "cipher: message authentication failed", "reference": ""}]}}"#),
                text(#"s{"data": {"signature": "vault:v1:\#(base64(64))"}}"#),
            ]
        case .transitCiphertext: [text("vault:v1:QUJD"), text("vault:v123456789:QQ==")]

        case .circuit: [text(circuit), text(weighted)]
        case .integerFile:
            [
                text("1,-2\n9007199254740993,0\n"), text("a,b,c\n1,-2,0.5\n3,4,x\n"),
                text("\u{FEFF}b;a\r\n-9223372036854775808;0\r\n"), text("a\tb\n\"1\"\t2\n"), text("[[1, -2], [3]]"),
                text(#"[{"a": 1, "b": -2}, {"b": 0, "a": 9007199254740993, "c": null}]"#),
                try APIJSON.encode(EncryptRequest(integers: [[1, -2], [.max]], unsigned: true)),
                try APIJSON.encode(EncryptRequest(circuit: "c", integerRecords: [["a": 1]])),
            ]
        case .model: [text(model)]
        case .record: [text(#"{"a": 1.5, "b": "1", "c": null}"#), text(#"{"a": " 2 ", "b": 0, "c": 2.5}"#)]
        case .recordFile:
            [
                text("a,b,c,t\n1,1,?,0\n\n 2 ,0,\"2.5\",1\n"), text("\u{FEFF}a;b;c\r\n1;1;\r\n"),
                text("a\tb\tc\n1\t0\t1"),
                text(#"[{"a": 1, "b": "0", "c": null, "t": 2}, {"a": "3", "b": 1, "c": 1}]"#),
            ]
        case .vectorFile:
            [text("1,2,3\n4,5e-1,6\n"), text("[[1, 2], [3]]"), text(#"[{"real": [1, 2], "imaginary": [0, -1]}]"#)]
        }
    }

    private static func text(_ text: String) -> [UInt8] { Array(text.utf8) }

    // MARK: HE objects

    private static func header(
        _ type: String, kind: UInt8 = 0, galois: UInt8 = 0, level: UInt8, parts: UInt8 = 0
    ) -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: HEObjects.header)
        bytes.replaceSubrange(4..<8, with: Array(type.utf8))
        bytes[10] = kind
        bytes[16] = galois
        bytes[20] = level
        bytes[22] = parts
        if type == "CIPH" { bytes.replaceSubrange(24..<32, with: [0, 0, 0, 0, 0, 0, 0x30, 0x41]) }  // 2^20
        return [3] + bytes
    }

    private static func fresh() throws -> [UInt8] {
        guard let seed = Seed(try SecretBytes(count: 32)) else { throw SeedError(what: "a seed of 32 bytes") }
        let secret = try seed.secretKey(HEObjects.context)
        let plaintext = try CKKSEncoder(HEObjects.context).encode([1, 2], scale: 4, level: 1)
        // The front alone: the harness fills the payload up.
        return Array(try seed.publicKey(secret).encrypt(plaintext).serialized().prefix(HEObjects.header + 64))
    }

    // MARK: Metadata rows

    /// In the order of `StoredRow.collections`.
    private static let rows = [
        """
        0{"budget":10,"created":"2026-01-02T03:04:05Z","decryptions":2,"encryptions":1,"exposed":false,"failures":0,\
        "keySet":"ks-1","manifest":"\(key)","manifestVersion":1,"owner":{"issuer":"static","kind":"user",\
        "subject":"alice"},"state":"active","tainted":false,"tenant":"default"}
        """,
        """
        1{"fingerprint":"\(key)","instance":"i","keySet":"ks-1","started":"2026-01-02T03:04:05Z","status":"creating"}
        """,
        """
        2{"job":"job-1","keySet":"ks-1"}
        """,
        """
        3{"created":"2026-01-02T03:04:05Z","failure":"f","finished":"2026-01-02T03:04:06Z","inputs":["\(key)"],\
        "job":"job-1","keepsOutputs":true,"keySet":"ks-1","manifest":"\(key)","model":"m","modelDigest":"\(key)",\
        "nonce":"\(key)","outputs":["\(key)"],"profile":"\(key)","receipt":"\(key)","requester":"r",\
        "state":"evaluated","tenant":"default","unit":"unit-1"}
        """,
    ].map(text)

    // MARK: Statements

    private static let date = Date(timeIntervalSince1970: 1_767_323_045)

    private static func digest(_ byte: UInt8) -> Attestation.Digest { Attestation.Digest(of: [byte]) }

    private static func job() -> JobDescription {
        JobDescription(
            job: "job-1", nonce: digest(1), gateway: "gateway-1", unit: "unit-1", keySet: "ks-1", manifest: digest(2),
            model: "m", modelDigest: digest(3), inputs: [digest(4)], created: date)
    }

    /// Raw, and with a plan of flooded results.
    private static func modelDescriptors() throws -> [ModelDescriptor] {
        guard let line = PlannedModel.model else { throw SeedError(what: "the model of plan requests") }
        let plan = try InferencePlan(line, release: ReleaseRequest(precision: 1e-3, budget: 16))
        return [
            try ModelDescriptor(CompiledModel(InferenceModel(parsing: text(model))), unit: "unit-1"),
            ModelDescriptor(line, plan: plan, unit: "unit-1"),
        ]
    }

    private static func planRequests() throws -> [[UInt8]] {
        guard let model = PlannedModel.model else { throw SeedError(what: "the model of plan requests") }
        let release = ReleaseRequest(precision: 1e-3, budget: 16)
        let profile = try InferencePlan(model, release: release).profile
        return [
            try APIJSON.encode(PlanRequest(release: release)),
            try APIJSON.encode(PlanRequest(release: release, profile: profile)),
        ]
    }

    private static func receipt() -> Receipt {
        Receipt(
            job: "job-1", nonce: digest(1), keySet: "ks-1", manifest: digest(2), modelDigest: digest(3),
            profile: digest(6), inputs: [digest(4)], outputs: [digest(7)], unit: "unit-1", evaluated: date)
    }

    /// One of each kind of release.
    private static func manifests() throws -> [KeySetManifest] {
        guard let reals = ParameterPreset.named("ckks-13")?.parameters,
            let integers = BFVParameterPreset.named("bfv-12")?.parameters
        else { throw SeedError(what: "the presets") }
        let flooding = try FloodingPolicy(
            errorBound: 0x1p20, budget: 100, precision: 1e-3, level: 1, scaleBits: 60, audience: .shared)
        let keys = [EvaluationKeyID(kind: .galois, galois: 9, level: 2, generation: 7)]
        func profile(_ parameters: EncryptionParameters, scaleBits: Int, operands: Int? = nil) -> CircuitProfile {
            CircuitProfile(
                model: "m", modelDigest: digest(3), parameters: parameters, scaleBits: scaleBits, inputLevel: 2,
                outputLevel: 1, batch: 64, evaluationKeys: keys, operands: operands)
        }
        return [
            try manifest(.raw(decryptionBudget: 10), profile(reals, scaleBits: 36)),
            try manifest(
                .flooded(FloodedRelease(precision: 1e-3, policy: flooding)), profile(reals, scaleBits: 60)),
            try manifest(.unflooded(.bfv), profile(integers, scaleBits: 0, operands: 2)),
        ]
    }

    private static func manifest(_ policy: KeySetPolicy, _ profile: CircuitProfile) throws -> KeySetManifest {
        let parameters = profile.parameters
        guard let parameterDigest = Attestation.Digest(bytes: parameters.digest) else {
            throw SeedError(what: "the parameter digest")
        }
        return KeySetManifest(
            keySet: "ks-1", version: 3, installation: "test", tenant: "default",
            owner: KeySetOwner(kind: .user, issuer: "static", subject: "alice"), parameters: parameters,
            parameterDigest: parameterDigest, suite: 1, generation: 2, origin: .derived,
            sealing: .init(
                mode: .envelope, provider: "software", keyName: "master", keyVersion: 1, epoch: 4,
                sealedSeed: digest(9), sealedDataKey: digest(10)),
            commitment: digest(11),
            objects: [
                KeySetObject(kind: .publicKey, galois: 0, level: 4, generation: 2, bytes: 100, digest: digest(1)),
                KeySetObject(kind: .galois, galois: 9, level: 4, generation: 2, bytes: 300, digest: digest(3)),
            ], state: .active, dates: .init(created: date, activated: date),
            policy: policy, profile: profile, manifestKey: try SecretBytes(count: 32))
    }

    // MARK: Messages

    private static func requests() throws -> [[UInt8]] {
        var register = RegisterRequest(requestId: "r-1", mode: "direct", preset: "ckks-13")
        register.parameters = ParametersBody(scheme: "ckks", logN: 13, q: [0x3FFF_FFF8_4001], p: [], alpha: 0)
        register.rotations = [1, -2]
        var flooded = RegisterRequest(requestId: "r-2", mode: "envelope", model: "m", release: "flooded")
        flooded.precision = 1e-3
        flooded.statisticalBits = 30
        flooded.decryptionBudget = 1024
        flooded.audience = "shared"
        var integers = RegisterRequest(requestId: "r-3", mode: "direct")
        integers.parameters = ParametersBody(scheme: "bfv", logN: 12, q: [34_359_697_409], p: [], alpha: 0, t: 65537)
        integers.rowSwap = true
        var predict = PredictRequest(keySet: nil, ephemeral: true, release: "flooded", records: [["a": 1]])
        predict.precision = 1e-2
        predict.statisticalBits = 40
        let vectors = EncryptRequest(vectors: [.init(real: [1, -2.5e3], imaginary: [0, 1])], scaleBits: 30, level: 2)
        return [
            text("r") + (try APIJSON.encode(register)), text("e") + (try APIJSON.encode(vectors)),
            text("e") + (try APIJSON.encode(EncryptRequest(model: "m", records: [["a": 1, "b": nil]]))),
            text("p") + (try APIJSON.encode(PredictRequest(keySet: "ks-1", ephemeral: false, records: [["a": 1]]))),
            text("r") + (try APIJSON.encode(flooded)), text("r") + (try APIJSON.encode(integers)),
            text("p") + (try APIJSON.encode(predict)),
            text("e") + (try APIJSON.encode(EncryptRequest(integers: [[1, -2], [.max]], unsigned: true))),
            text("e") + (try APIJSON.encode(EncryptRequest(circuit: "c", integerRecords: [["a": 1]]))),
        ]
    }

    private static func answers() throws -> [[UInt8]] {
        let object = KeySetInfo.Object(name: "public-key", galois: 0, level: 4, bytes: 9, digest: digest(1).hex)
        let parameters = ParametersBody(scheme: "ckks", logN: 13, q: [65537], p: [], alpha: 0)
        let flooding = FloodingBody(
            precision: 1e-3, statisticalBits: 30, decryptions: 1024, audience: "shared", step: 0x1p-11,
            errorBound: 0x1p20, deviation: 0x1p42, level: 1, scaleBits: 60)
        let info = KeySetInfo(
            id: "ks-1", state: "active", mode: "direct", tenant: "t",
            owner: .init(kind: "user", issuer: "i", subject: "s"),
            created: date, activated: date, destroyed: nil, kms: .init(provider: "software", key: "k", keyVersion: 1),
            suite: 1, generation: 0, parameters: parameters, parameterDigest: digest(2).hex, manifestVersion: 1,
            manifestDigest: digest(3).hex, model: "m", release: "raw", decryptAny: false, exposed: false,
            tainted: false,
            counters: .init(encryptions: 1, decryptions: 2, decryptionsLeft: nil, failures: 0), objects: [object],
            bytes: .init(publicKey: 1, evaluationKeys: 2, sealedSeed: 3))
        var flooded = info
        flooded.release = "flooded"
        flooded.flooding = flooding
        flooded.releaseReport = "asked: results within 0.001"
        let sums = CircuitInfo(
            name: "totals", version: 1, description: "d", unit: "u", digest: digest(4).hex,
            columns: [.init(name: "a", minimum: -3, maximum: 9)], records: 5, operands: 2,
            results: [.init(name: "a", slot: 0), .init(name: "a*a", slot: 2)], perRecord: false, magnitude: 405,
            parameters: ParametersBody(scheme: "bfv", logN: 12, q: [65537], p: [], alpha: 0, t: 65537),
            evaluationKeys: ["relinearization"])
        var rows = sums
        rows.perRecord = true
        let model = RecordModel.info
        let job = JobInfo(
            id: "job-1", keySet: "ks-1", model: "m", unit: "u", state: "open", failure: nil, inputs: [digest(1).hex],
            outputs: [], receipt: nil, created: date, finished: date)
        let prediction = PredictResponse(
            model: "m", keySet: "ks-1", unit: "u", job: "job-1", release: "raw", batches: 1,
            predictions: [.init(score: 0.5, label: "present")],
            bytes: .init(publicKey: 1, evaluationKeys: 2, encryptedSamples: 3, encryptedPredictions: 4))
        let destroyed = DestroyResponse(
            keySet: "ks-1", state: "destroyed", erasure: "tombstoned", date: date, meaning: "m")
        return [
            text("a") + (try APIJSON.encode(info)), text("b") + (try APIJSON.encode(KeySetList(keySets: []))),
            text("c") + (try APIJSON.encode(EvaluationKeyList(evaluationKeys: [object]))),
            text("d") + (try APIJSON.encode(destroyed)),
            text("e") + (try APIJSON.encode(EncryptResponse(ciphertexts: [.init(digest: "d", ciphertext: "QQ==")]))),
            text("f") + (try APIJSON.encode(DecryptResponse(release: "raw", vectors: [.init(real: [1])]))),
            text("g") + (try APIJSON.encode(ModelList(models: [model]))), text("h") + (try APIJSON.encode(prediction)),
            text("i") + (try APIJSON.encode(JobList(jobs: [job]))),
            text("j") + (try APIJSON.encode(UnitModelList(descriptors: ["{}"]))),
            text("k") + (try APIJSON.encode(UnitKeyStatus(have: [], need: [digest(1).hex]))),
            text("l") + (try APIJSON.encode(CircuitList(circuits: [sums, rows]))),
            text("a") + (try APIJSON.encode(flooded)),
            text("f")
                + (try APIJSON.encode(
                    DecryptResponse(
                        release: "flooded", flooding: flooding, decryptionsLeft: 3, vectors: [.init(real: [0.5])]))),
            text("f") + (try APIJSON.encode(DecryptResponse(release: "exact", vectors: [], integers: [[1, -2]]))),
        ]
    }

    private static func signature() throws -> [UInt8] {
        let fields = try HTTPMessageSignature.sign(
            RequestComponents(method: .post, target: "/v1/evaluate?a=b"),
            digest: ContentDigest(of: SignedRequests.body),
            keyID: SignedRequests.keyID, privateKey: SignedRequests.key, now: SignedRequests.date)
        let lines = [fields[.signatureInput], fields[.signature], fields[.contentDigest], "/v1/evaluate?a=b"]
        return text(lines.map { $0 ?? "" }.joined(separator: "\n"))
    }

    // MARK: Files

    private static let key = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"

    /// By OpenSSL, of version 2, with one entry.
    private static let revocationList = """
        -----BEGIN X509 CRL-----
        MIIBAjCBqQIBATAKBggqhkjOPQQDAjANMQswCQYDVQQDDAJjYRcNMjAwMTAxMDAw
        MDAwWhcNNDkwMTAxMDAwMDAwWjAnMCUCFHaRAHPru3BHei1kt+NQvuWU9rKNFw0y
        NjExMjIwMTMzNTJaoEIwQDAyBgNVHSMEKzApoRGkDzANMQswCQYDVQQDDAJjYYIU
        CVHMbhKTciuPgAxOk/NAerRRmNMwCgYDVR0UBAMCAQEwCgYIKoZIzj0EAwIDSAAw
        RQIhAOPYwsaaVW1oDxlXBWBUIe247EJFfnozwcQy4ZOr29GoAiAnjY7OrDyp3aD2
        dv03VMcpAILJOSIxZn61GmFsuEl+sg==
        -----END X509 CRL-----

        """

    /// The same in DER, of version 1.
    private static let firstRevocationList =
        "MIG9MGQwCgYIKoZIzj0EAwIwDTELMAkGA1UEAwwCY2EXDTIwMDEwMTAwMDAwMFoYDzIwNTIwMTAxMDAwMDAwWjAnMC"
        + "UCFHaRAHPru3BHei1kt+NQvuWU9rKNFw0yNjExMjIwMTMzNTJaMAoGCCqGSM49BAMCA0kAMEYCIQCp6RJIZB2Mvasp"
        + "ulqSQSDc3eHgwNoyFmdJM7tJTa5NmAIhAKERCMpo0/u59nnxV9UVGL/ybXNG1uRRbhUYzSYA1a8Y"

    private static let yaml = """
        colour: red  # a comment
        number: 12
        list: [a, "b", 'c']
        inner: {flag: true, name: ~}
        entries:
          - {name: x, value: 0x1F}
          - name: >
              folded
            value: 1_000
        """

    private static let policy = """
        version: 1
        rules:
          - name: a
            effect: allow
            who: {issuers: [static], subjects: [alice], groups: [clerks], tenants: [t]}
            actions: [encrypt, decrypt.job, predict]
            keySets: {own: true, myGroups: true, groups: [radiology], ids: [ks-1]}
            models: [heart-*]
            acrossTenants: true
            when:
              times: [{days: [mon, sun], from: 22:00, to: 06:00, utcOffset: +01:00}]
              networks: [10.20.0.0/16, "2001:db8::/32", "::ffff:192.0.2.0/120"]
              decryptionsLeft: 10
              audience: [owner, shared]
          - name: d
            effect: deny
            who: {anyone: true}
            actions: [all]
            unless: {networks: [10.0.0.0/8]}
        separate:
          - {name: s, either: [encrypt], or: [decrypt.any, destroy]}
        """

    private static let audit = """
        audit:
          directory: audit
          fileMiB: 64
          hash: [subject, keySet]
          publicKeys: [\(key)]
          queued: 10
          sinks:
            - {name: siem, kind: http, url: "https://siem.example:8443/x", tokenFile: t, required: true}
            - {name: local, kind: syslog, socket: /dev/log}
            - {name: far, kind: syslogTCP, host: logs.example, port: 6514}
        """

    private static let auditLines = [
        #"{"seq":1,"time":"2026-11-21T22:40:43.129033Z","prev":"000000000000000000000000000000000000"#
            + #"0000000000000000000000000000","type":"file","format":"hkms.audit.v1","installation":"test""#
            + #","gateway":"gateway-1","key":"ea4a6c63e29c520abef5507b132ec5f9954776aebebe7b92421eea691446"#
            + #"d22c"}"#,
        #"{"seq":3,"time":"2026-11-21T22:40:43.321574Z","prev":"c125a99ce4e964b7fb3de4b5ba590db7d0e3"#
            + #"29d0f30b830ff9ab29432be1bcf4","type":"operation","request":"r-0-1","trace":"0af7651916cd43"#
            + #"dd8448eb211c80319c","who":{"issuer":"static","subject":"task-0","tenant":"default","groups"#
            + #"":["radiology"]},"action":"decrypt.job","resource":{"keySet":"ks-0123456789abcdef","versio"#
            + #"n":1,"model":"heart-disease"},"parameters":{"number":"1"},"ciphertexts":{"count":2,"digest"#
            + #"s":["4bf5122f344554c53bde2ebb8cd2b7e3d1600ad631c385a5d7cce23c7785459a","dbc1b4c900ffe48d57"#
            + #"5b5da5c638040125f65db0fe3e24494b76ea986457d986"]},"decision":"allowed","rule":"owner","out"#
            + #"come":"ok","microseconds":1234}"#,
        #"{"seq":3,"time":"2026-11-21T22:40:43.321574Z","prev":"c125a99ce4e964b7fb3de4b5ba590db7d0e3"#
            + #"29d0f30b830ff9ab29432be1bcf4","type":"operation","request":"r-0-1","trace":"0af7651916cd43"#
            + #"dd8448eb211c80319c","who":{"issuer":"static","subject":{"hmac":"4bf5122f344554c53bde2ebb8c"#
            + #"d2b7e3d1600ad631c385a5d7cce23c7785459a"},"tenant":"default","groups":["radiology"]},"actio"#
            + #"n":"decrypt.job","resource":{"keySet":"ks-0123456789abcdef","version":1,"model":"heart-dis"#
            + #"ease"},"parameters":{"number":"1"},"ciphertexts":{"count":2,"digests":["4bf5122f344554c53b"#
            + #"de2ebb8cd2b7e3d1600ad631c385a5d7cce23c7785459a","dbc1b4c900ffe48d575b5da5c638040125f65db0f"#
            + #"e3e24494b76ea986457d986"]},"decision":"allowed","rule":"owner","outcome":"ok","microsecond"#
            + #"s":1234}"#,
        #"{"seq":4,"time":"2026-11-21T22:40:43.321574Z","prev":"dac9f679ffdd03c1c51ca46d17cb7dabdf13"#
            + #"9038d56302e0dec72fec40cfe8b4","type":"checkpoint","key":"ed25519:fe812c12f3ab4ce6ac5db69ac"#
            + #"352f906","signature":"663055d01c2240f1830fec0254186acb5fff53181bd62d6ac7f606bf567a9ccf4935"#
            + #"a567d45d26ec65dc34ea7a13e60d2e44f768ea808ffa7050bcad8ac96603"}"#,
        #"{"seq":5,"time":"2026-11-21T22:40:43.321574Z","prev":"dac9f679ffdd03c1c51ca46d17cb7dabdf13"#
            + #"9038d56302e0dec72fec40cfe8b4","type":"recovery","cause":"start","reason":"r \u001b","cutFi"#
            + #"le":"torn-5-0123456789abcdef","cutBytes":12,"cutDigest":"4bf5122f344554c53bde2ebb8cd2b7e3d"#
            + #"1600ad631c385a5d7cce23c7785459a","late":1,"lost":2}"#,
    ]

    private static let tokens = """
        tokens:
          - subject: alice
            tenant: hospital-a
            groups: [radiology]
            tokenSHA256: \(key)
        """

    private static let unit = """
        unit:
          name: unit-1
          signingKeyFile: unit.key
        listen: {host: 127.0.0.1, port: 0}
        models: [tiny.json]
        gateways:
          - name: gateway-1
            requestKey: \(key)
        manifestKeys: [\(key)]
        installation: i
        tenant: t
        limits: {keyCacheMiB: 10, bodyMiB: 64, threads: 2, queued: 3}
        development: true
        memory: {lock: preferred}
        """

    private static let gateway = """
        installation: {name: i, gateway: gateway-1, tenant: t, earlierManifestKeys: [\(key)]}
        development: true
        listen: {port: 8080}
        memory: {lock: preferred}
        storage: {objects: o, metadata: m.sqlite}
        identity: {tokens: tokens.yaml}
        units:
          - {name: u, url: "http://127.0.0.1:8081", publicKey: \(key), operator: bob}
        decryptAny: {owners: [alice]}
        limits: {bodyMiB: 64, threads: 2, queued: 3, jobs: 4}
        """

    private static let softwareKMS = """
        kms:
          provider: software
          key: "hkms-seeds"
          software: {keystore: keystore.json, passphraseFile: keystore.passphrase}
        """

    private static let openBao = """
        kms:
          provider: openbao
          key: seeds
          openbao:
            address: "https://bao.example.com:8200"
            mount: transit/a
            namespace: n
            tokenFile: token
            caCertificate: ca.crt
            timeoutSeconds: 20
        """

    private static let appRole = """
        kms:
          provider: openbao
          key: seeds
          openbao:
            address: "http://[::1]:8200"
            appRole: {roleID: r-1, secretIDFile: secret-id, mount: approle, secretIDWrapped: true}
        """

    private static let delegated = """
        kms:
          provider: openbao
          key: seeds
          openbao:
            addresses: ["https://bao-1.example.com:8200", "https://bao-2.example.com:8200"]
            jwt: {role: hkms, tokenFile: jwt, mount: kubernetes}
            delegated: {mount: jwt, role: hkms-user, keyPrefix: hkms-user-}
            retrySeconds: 20
        """
    private static let pkcs11 = """
        kms:
          provider: pkcs11
          key: hkms-seeds
          pkcs11:
            uri: "pkcs11:token=hkms?module-path=/usr/lib/softhsm/libsofthsm2.so"
            pinFile: pin
            sessions: 4
            mechanism: keyWrapPad
        """

    private static let keystore = """
        {"format": "hkms-software-keystore-1", "developmentOnly": true,
         "passphrase": {"kdf": "scrypt", "n": 131072, "r": 8, "p": 1,
          "salt": "\(base64(32))", "check": "\(base64(28))"},
         "keys": [{"name": "seeds", "minimumVersion": 1, "versions": [{"version": 1, "wrapped": "\(base64(60))"},
          {"version": 2, "wrapped": "\(base64(60))"}]}],
         "authenticator": "\(base64(28))"}
        """

    private static func base64(_ count: Int) -> String { Data(repeating: 7, count: count).base64EncodedString() }

    private static let circuit = """
        {"format": "hkms.circuit.v1", "name": "totals", "version": 1, "description": "d", "records": 5,
         "columns": [{"name": "a", "minimum": -3, "maximum": 9}, {"name": "b", "minimum": 0, "maximum": 250}],
         "sums": [["a"], ["a", "b"]]}
        """

    private static let weighted = """
        {"format": "hkms.circuit.v1", "name": "w", "version": 1, "description": "d", "records": 3,
         "columns": [{"name": "a", "minimum": -3, "maximum": 9}], "weights": [-7], "bias": 4,
         "plaintextModulus": 65537}
        """

    private static let model = """
        {"format": "hkms.model.v1", "name": "tiny", "version": 1, "description": "d",
         "inputs": [{"name": "a", "encoding": "scaled", "minimum": 0, "maximum": 1, "valid": [-1, 1]},
          {"name": "b", "encoding": "oneHot", "categories": [1, 2], "missing": true}],
         "layers": [{"type": "dense", "inputs": 4, "units": 2, "weights": [[1, -0.5, 0, 1], [0.25, 0, 1, 0]],
          "bias": [0, 1]}, {"type": "square"}, {"type": "dense", "weights": [[1, 2]], "bias": [0.5]}],
         "output": {"name": "y", "threshold": 0.5, "labels": ["low", "high"], "target": {"column": "t",
          "positiveAbove": 0}}}
        """
}

/// Something that seeds are made of is no longer as it was.
struct SeedError: Error {
    let what: String
}

extension [UInt8] {
    fileprivate func flagged(_ flags: UInt8) -> [UInt8] { [flags] + self }
}
