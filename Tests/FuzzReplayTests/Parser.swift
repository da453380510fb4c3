import Attestation
import EncryptedInference
import ServiceKit

/// Every reader of bytes that somebody else wrote, by the name of its folder in Tests/Corpus.
///
/// The fuzzers and the replay of their corpus share these files, so that a kept input does the same in both.
enum Parser: String, CaseIterable, Sendable {
    case ciphertext
    case evaluationKey = "evaluation-key"
    case publicKey = "public-key"
    case sealedObject = "sealed-object"
    case metadataRow = "metadata-row"

    case auditLine = "audit-line"
    case circuitDescriptor = "circuit-descriptor"
    case envelope
    case job
    case manifest
    case modelDescriptor = "model-descriptor"
    case planRequest = "plan-request"
    case receipt

    case accessPolicy = "access-policy"
    case auditConfiguration = "audit-configuration"
    case gatewayConfiguration = "gateway-configuration"
    case kmsConfiguration = "kms-configuration"
    case tokens
    case unitConfiguration = "unit-configuration"
    case yaml

    case answer
    case authorization
    case octetBundle = "octet-bundle"
    case problem
    case request
    case requestSignature = "request-signature"
    case revocationList = "revocation-list"
    case serverTiming = "server-timing"
    case traceContext = "trace-context"

    case keystore
    case loginAnswer = "login-answer"
    case retryAfter = "retry-after"
    case pkcs11Blob = "pkcs11-blob"
    case pkcs11URI = "pkcs11-uri"
    case secretBase64 = "secret-base64"
    case secretJSON = "secret-json"
    case softwareBlob = "software-blob"
    case storageIndex = "storage-index"
    case transitAnswer = "transit-answer"
    case transitCiphertext = "transit-ciphertext"

    case circuit
    case integerFile = "integer-file"
    case model
    case record
    case recordFile = "record-file"
    case vectorFile = "vector-file"

    /// Reads any bytes. What is refused is refused by an error; a crash, a hang or a broken promise of a reader
    /// ends the process.
    func read(_ bytes: [UInt8]) {
        switch self {
        case .ciphertext: HEObjects.read(bytes, as: .ciphertext)
        case .evaluationKey: HEObjects.read(bytes, as: .evaluationKey)
        case .publicKey: HEObjects.read(bytes, as: .publicKey)
        case .sealedObject: readSealedObject(bytes)
        case .metadataRow: readMetadataRow(bytes)

        case .auditLine: readAuditLine(bytes)
        case .circuitDescriptor: readStatement(IntegerCircuitDescriptor.self, bytes, use)
        case .envelope: readEnvelope(bytes)
        case .job: readStatement(JobDescription.self, bytes) { _ in }
        case .manifest: readStatement(KeySetManifest.self, bytes, use)
        case .modelDescriptor: readStatement(ModelDescriptor.self, bytes, use)
        case .planRequest: readPlanRequest(bytes)
        case .receipt: readStatement(Receipt.self, bytes) { _ in }

        case .accessPolicy: readAccessPolicy(bytes)
        case .auditConfiguration: readAuditConfiguration(bytes)
        case .gatewayConfiguration: readGatewayConfiguration(bytes)
        case .kmsConfiguration: readKMSConfiguration(bytes)
        case .tokens: readTokens(bytes)
        case .unitConfiguration: readUnitConfiguration(bytes)
        case .yaml: readYAML(bytes)

        case .answer: readAnswer(bytes)
        case .authorization: readAuthorization(bytes)
        case .octetBundle: readOctetBundle(bytes)
        case .problem: readProblem(bytes)
        case .request: readRequest(bytes)
        case .requestSignature: readRequestSignature(bytes)
        case .revocationList: readRevocationList(bytes)
        case .serverTiming: readServerTiming(bytes)
        case .traceContext: readTraceContext(bytes)

        case .keystore: readKeystore(bytes)
        case .loginAnswer: readLoginAnswer(bytes)
        case .retryAfter: readRetryAfter(bytes)
        case .pkcs11Blob: readPKCS11Blob(bytes)
        case .pkcs11URI: readPKCS11URI(bytes)
        case .secretBase64: readSecretBase64(bytes)
        case .secretJSON: readSecretJSON(bytes)
        case .softwareBlob: readSoftwareBlob(bytes)
        case .storageIndex: readStorageIndex(bytes)
        case .transitAnswer: readTransitAnswer(bytes)
        case .transitCiphertext: readTransitCiphertext(bytes)

        case .circuit: readCircuit(bytes)
        case .integerFile: readIntegerFile(bytes)
        case .model: readModel(bytes)
        case .record: readRecord(bytes)
        case .recordFile: readRecordFile(bytes)
        case .vectorFile: readVectorFile(bytes)
        }
    }
}
