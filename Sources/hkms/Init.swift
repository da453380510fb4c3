import AccessPolicy
import ArgumentParser
import Attestation
import Foundation
import KeyManagement
import SecretMemory
import ServiceKit
import TrustedKMSOpenBao
import TrustedKMSPKCS11
import TrustedKMSSoftware

struct Init: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Make a working configuration, keys and tokens for a gateway and an evaluation unit.",
        discussion: """
            For a trial on one machine, with the embedded software KMS:

              hkms init ./hkms-dev --dev --model models/heart-disease.json

            With OpenBao or Vault Transit as the trusted KMS:

              hkms init ./hkms --kms openbao --openbao-address https://bao.example:8200 \\
                  --openbao-ca ca.pem --openbao-token-file token --oidc-issuer https://login.example \\
                  --model models/heart-disease.json

            Writes hkms.yaml (gateway), policy.yaml (who may do what), evaluator.yaml (evaluation unit) and the keys \
            that both pin; with --dev also tokens.yaml with one token in developer.token. The gateway's own keys are \
            sealed by the KMS. Without --dev, gateway and unit speak TLS 1.3 with certificates of an authority made for them in tls/; replace them by \
            your company's, and keep tls/ca.key off the servers. The unit needs evaluator.yaml, unit-signing.key, \
            tls/ca.pem and tls/unit-1.*, and should run on a machine, or at least under an account, of its own.
            """)

    @Argument(help: "The folder to make.") var directory: String
    @Flag(
        name: .long,
        help: "For development: memory need not be locked, and the software keystore's passphrase lies beside it.")
    var dev = false
    @Flag(name: .long, help: "With --dev: TLS between client, gateway and unit all the same.")
    var tls = false
    @Option(name: .long, help: "software, openbao or pkcs11.") var kms = "software"
    @Option(name: .long, help: "Name of the KMS key that seals seeds; it is made where it is missing.")
    var key = "hkms-seeds"
    @Option(name: .long, help: "Name of the installation, in every sealing context.") var installation = "hkms"
    @Option(name: .long, help: "A model file for the evaluation unit, which needs one; may be repeated.")
    var model: [String] = []
    @Option(name: .long, help: "Port of the gateway; 0 for any.") var gatewayPort = 8080
    @Option(name: .long, help: "Port of the evaluation unit; not 0, because the gateway's configuration names it.")
    var unitPort = 8081
    @Option(
        name: .long,
        help: "Name or address under which others reach the gateway; it listens everywhere unless it is localhost.")
    var gatewayHost = "localhost"
    @Option(name: .long, help: "Name or address under which the gateway reaches the evaluation unit.")
    var unitHost = "localhost"
    @Option(name: .long, help: "URL of the OpenID Connect issuer whose tokens name the users; needed without --dev.")
    var oidcIssuer: String?
    @Option(name: .long, help: "What the issuer's tokens must name as their audience.")
    var oidcAudience = "hkms"
    @Option(name: .long, help: "File with the keystore's passphrase (or set HKMS_KEYSTORE_PASSPHRASE).")
    var passphraseFile: String?
    @Option(name: .long, help: "URL of OpenBao or Vault.") var openbaoAddress: String?
    @Option(name: .long, help: "Mount of the Transit engine.") var openbaoMount = "transit"
    @Option(name: .long, help: "File with a token that may use the key, and make it where it is missing.")
    var openbaoTokenFile: String?
    @Option(name: .long, help: "CA certificate of the server, PEM.") var openbaoCa: String?
    @Option(name: .long, help: "Token and module: pkcs11:token=LABEL?module-path=/path/of/the/module.so")
    var pkcs11Uri: String?
    @Option(name: .long, help: "File with the token's user PIN.") var pkcs11PinFile: String?

    private var root: URL { URL(fileURLWithPath: directory) }

    func validate() throws {
        guard ["software", "openbao", "pkcs11"].contains(kms) else {
            throw ValidationError("--kms is software, openbao or pkcs11")
        }
        guard KMSKeyName(key) != nil else { throw ValidationError("--key is not the name of a KMS key") }
        if kms == "openbao", openbaoAddress == nil || openbaoTokenFile == nil {
            throw ValidationError("--kms openbao needs --openbao-address and --openbao-token-file")
        }
        if kms == "pkcs11", pkcs11Uri == nil || pkcs11PinFile == nil {
            throw ValidationError("--kms pkcs11 needs --pkcs11-uri and --pkcs11-pin-file")
        }
        guard (1...65535).contains(unitPort), (0...65535).contains(gatewayPort) else {
            throw ValidationError("ports are 1 to 65535")
        }
        if !dev, oidcIssuer == nil {
            throw ValidationError(
                "--oidc-issuer must name who issues your users' tokens: https://... (for a trial, --dev makes a token)")
        }
        for host in [gatewayHost, unitHost] where !Self.isHost(host) {
            throw ValidationError("\(host.prefix(64)) is neither a host name nor an address")
        }
        if !usesTLS, gatewayHost != "localhost" || unitHost != "localhost" {
            throw ValidationError("--dev speaks plain HTTP on this machine alone: add --tls, or leave out the hosts")
        }
        let plain = installation.utf8.allSatisfy {
            ($0 >= 97 && $0 <= 122) || ($0 >= 48 && $0 <= 57) || $0 == 45 || $0 == 46
        }
        guard (1...64).contains(installation.utf8.count), plain else {
            throw ValidationError("--installation is 1 to 64 lower-case letters, digits, hyphens and dots")
        }
    }

    func run() async throws {
        SecretMemory.forbidCoreDumps()
        SecretMemory.lockPolicy = dev ? .preferred : .required
        for name in ["hkms.yaml", "installation.sealed"] where FileManager.default.fileExists(atPath: file(name)) {
            throw ValidationError("\(directory) has an \(name) already: choose another folder")
        }
        let isOurs = try makeFolder()
        do { try await make() } catch {
            // Half an installation is of no use, and in the way of the next try.
            if isOurs { try? FileManager.default.removeItem(at: root) }
            throw error
        }
        print(nextSteps)
    }

    /// - Returns: whether it was this call that made it: what another one made is not for this one to remove.
    private func makeFolder() throws -> Bool {
        let files = FileManager.default
        let attributes: [FileAttributeKey: Any] = [.posixPermissions: 0o700]
        try files.createDirectory(
            at: root.deletingLastPathComponent(), withIntermediateDirectories: true, attributes: attributes)
        do {
            try files.createDirectory(at: root, withIntermediateDirectories: false, attributes: attributes)
            return true
        } catch CocoaError.fileWriteFileExists {
            return false
        }
    }

    private func make() async throws {
        let kmsYAML: String
        let trustedKMS: any TrustedKMS
        switch kms {
        case "software": (trustedKMS, kmsYAML) = try makeSoftwareKMS()
        case "pkcs11": (trustedKMS, kmsYAML) = try await connectPKCS11()
        default: (trustedKMS, kmsYAML) = try connectOpenBao()
        }
        guard let keyName = KMSKeyName(key) else { throw ValidationError("--key is not the name of a KMS key") }
        let manifestKey: VerificationKey
        let requestKey: VerificationKey
        let auditKey: VerificationKey
        do {
            try await trustedKMS.requireKey(keyName)
            let (keys, sealed) = try await InstallationKeys.create(
                installation: installation, tenant: "default", kms: KMSDirectory(trustedKMS, key: keyName))
            try Data(sealed).write(to: root.appendingPathComponent("installation.sealed"), options: .atomic)
            manifestKey = keys.manifestKey.verificationKey
            requestKey = keys.requestKey.verificationKey
            auditKey = keys.auditKey.verificationKey
        } catch let error as KMSError {
            await trustedKMS.shutdown()
            throw FlowFailure(.kms(error))
        } catch let error as KeyManagementError {
            await trustedKMS.shutdown()
            throw FlowFailure(error)
        }
        await trustedKMS.shutdown()

        let unitSeed = try SecretBytes(randomCount: 32)
        let unitHex = try unitSeed.encodingHex()
        let unitKey = try SigningKey(seed: unitSeed).verificationKey
        try SecretFile.create(file("unit-signing.key"), unitHex)
        if usesTLS { try makeCertificates() }
        if dev {
            let token = StaticTokenFile.generateToken()
            try write("developer.token", token + "\n", mode: 0o600)
            try write("tokens.yaml", tokensYAML(token), mode: 0o600)
        }
        try write("evaluator.yaml", evaluatorYAML(manifestKey: manifestKey, requestKey: requestKey), mode: 0o644)
        try write("policy.yaml", Policy.builtInText, mode: 0o644)
        // Last: a folder with hkms.yaml is complete.
        try write("hkms.yaml", gatewayYAML(kms: kmsYAML, unitKey: unitKey, auditKey: auditKey), mode: 0o644)
    }

    private var nextSteps: String {
        var lines = ["Made \(directory). Next:"]
        if model.isEmpty {
            lines.append(
                "  name a model file in \(directory)/evaluator.yaml, under models; the unit needs one to start")
        }
        let tokenFile = dev ? "\(directory)/developer.token" : "FILE-WITH-A-TOKEN-OF-THE-ISSUER"
        lines += [
            "  hkms-evaluator serve --config \(directory)/evaluator.yaml &",
            "  hkms serve --config \(directory)/hkms.yaml &",
            "  export HKMS_GATEWAY=\(gatewayURL) HKMS_TOKEN_FILE=\(tokenFile)",
        ]
        if usesTLS { lines.append("  export HKMS_CA_FILE=\(directory)/tls/ca.pem") }
        lines.append("  hkms models")
        if dev {
            let why =
                kms == "software" && passphraseFile == nil
                ? "its passphrase lies beside its keystore" : "its token never expires, and memory need not be locked"
            lines.append("This is a DEVELOPMENT installation: \(why).")
        }
        return lines.joined(separator: "\n")
    }

    private var usesTLS: Bool { !dev || tls }
    private var identityYAML: String {
        var lines = dev ? ["  tokens: tokens.yaml"] : []
        if let oidcIssuer {
            lines += [
                "  oidc:", "    - issuer: \(quoted(oidcIssuer))", "      audiences: [\(quoted(oidcAudience))]",
            ]
        }
        return lines.joined(separator: "\n")
    }
    private var gatewayURL: String {
        !usesTLS ? "http://127.0.0.1:\(gatewayPort)" : "https://\(Self.inURL(gatewayHost)):\(gatewayPort)"
    }
    private var unitURL: String {
        !usesTLS ? "http://127.0.0.1:\(unitPort)" : "https://\(Self.inURL(unitHost)):\(unitPort)"
    }
    private var gatewayName: String { "spiffe://\(installation)/gateway/gateway-1" }
    private var unitName: String { "spiffe://\(installation)/unit/unit-1" }

    private static func inURL(_ host: String) -> String { host.contains(":") ? "[\(host)]" : host }

    private static func isHost(_ host: String) -> Bool {
        (1...253).contains(host.utf8.count)
            && host.utf8.allSatisfy {
                ($0 | 0x20 >= 97 && $0 | 0x20 <= 122) || ($0 >= 48 && $0 <= 58) || $0 == 45 || $0 == 46
            }
    }

    private func makeCertificates() throws {
        let authority = try StarterAuthority(installation: installation)
        try FileManager.default.createDirectory(
            at: root.appendingPathComponent("tls"), withIntermediateDirectories: true)
        let made = [
            ("ca", try authority.serialized()),
            ("gateway-1", try authority.issue(uri: gatewayName, host: gatewayHost)),
            ("unit-1", try authority.issue(uri: unitName, host: unitHost)),
        ]
        for (name, pair) in made {
            try write("tls/\(name).pem", pair.certificate + "\n", mode: 0o644)
            try write("tls/\(name).key", pair.key + "\n", mode: 0o600)
        }
    }

    /// The lines of `listen`.
    private func listenYAML(_ name: String, host: String, port: Int, mutual: Bool) -> String {
        let lines =
            !usesTLS
            ? ["host: 127.0.0.1", "port: \(port)"]
            : [
                "host: \(host == "localhost" ? "127.0.0.1" : "0.0.0.0")", "port: \(port)", "tls:",
                "  certificate: tls/\(name).pem", "  key: tls/\(name).key",
            ] + (mutual ? ["  clientAuthorities: tls/ca.pem", "  clientCertificates: required"] : [])
        return lines.map { "  " + $0 }.joined(separator: "\n")
    }

    private func file(_ name: String) -> String { root.appendingPathComponent(name).path }

    /// A YAML scalar in double quotes, whatever the text has in it.
    private func quoted(_ text: String) -> String {
        var result = "\""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\"", "\\": result += "\\\(scalar)"
            case _ where scalar.properties.generalCategory == .control:
                result +=
                    "\\U" + String(repeating: "0", count: 8 - String(scalar.value, radix: 16).count)
                    + String(scalar.value, radix: 16)
            default: result.unicodeScalars.append(scalar)
            }
        }
        return result + "\""
    }

    private func write(_ name: String, _ text: String, mode: Int) throws {
        let path = file(name)
        // Made with its mode: a token is never readable by others, not for a moment.
        guard
            FileManager.default.createFile(
                atPath: path, contents: Data(text.utf8), attributes: [.posixPermissions: mode])
        else { throw ValidationError("cannot write \(path)") }
    }

    private func makeSoftwareKMS() throws -> (any TrustedKMS, String) {
        let source: String
        let passphrase: SecretBytes
        if let passphraseFile {
            passphrase = try SecretFile.read(passphraseFile)
            source = "passphraseFile: \(quoted(URL(fileURLWithPath: passphraseFile).path))"
        } else if dev {
            passphrase = try SecretBytes(randomCount: 32).encodingHex()
            try SecretFile.create(file("keystore.passphrase"), passphrase)
            source = "passphraseFile: keystore.passphrase"
        } else {
            do {
                passphrase = try Passphrase.read(file: nil, variable: "HKMS_KEYSTORE_PASSPHRASE")
            } catch {
                throw ValidationError(
                    "the keystore needs a passphrase: set HKMS_KEYSTORE_PASSPHRASE or --passphrase-file, or --dev for a trial"
                )
            }
            source = "passphraseEnvironment: HKMS_KEYSTORE_PASSPHRASE"
        }
        PassphraseAdvice.warn(of: passphrase)
        let kms = try SoftwareKMS.create(at: file("keystore.json"), passphrase: passphrase, developmentOnly: dev)
        return (
            kms,
            """
              software:
                keystore: keystore.json
                \(source)
            """
        )
    }

    private func connectOpenBao() throws -> (any TrustedKMS, String) {
        let address = openbaoAddress ?? ""
        let tokenFile = URL(fileURLWithPath: openbaoTokenFile ?? "").path
        let authority = openbaoCa.map { URL(fileURLWithPath: $0).path }
        let kms = try OpenBaoKMS(
            OpenBaoConfiguration(
                address: address, mount: openbaoMount, authentication: .tokenFile(tokenFile),
                caCertificateFile: authority, retryTime: .zero))
        var yaml = """
              openbao:
                address: \(quoted(address))
                mount: \(quoted(openbaoMount))
                tokenFile: \(quoted(tokenFile))
            """
        if let authority { yaml += "\n    caCertificate: \(quoted(authority))" }
        return (kms, yaml)
    }

    private func connectPKCS11() async throws -> (any TrustedKMS, String) {
        let pinFile = URL(fileURLWithPath: pkcs11PinFile ?? "").path
        let uri: PKCS11URI
        do {
            uri = try PKCS11URI(pkcs11Uri ?? "")
        } catch {
            throw ValidationError("--pkcs11-uri \(error)")
        }
        guard uri.pinFile == nil else {
            throw ValidationError("--pkcs11-uri has a pin-source: take it out, --pkcs11-pin-file says where the PIN is")
        }
        let pin = try SecretFile.read(pinFile)
        let kms: PKCS11KMS
        do {
            kms = try await PKCS11KMS.connect(PKCS11Configuration(uri: uri), pin: pin)
        } catch {
            throw FlowFailure(.kms(error))
        }
        // Named, so that a token that learns another mechanism does not change it.
        let yaml = """
              pkcs11:
                uri: \(quoted(pkcs11Uri ?? ""))
                pinFile: \(quoted(pinFile))
                mechanism: \(kms.mechanism.rawValue)
            """
        return (CompletedKMS(kms), yaml)
    }

    private func tokensYAML(_ token: String) -> String {
        """
        # Who may call the gateway. A token itself is nowhere but with its holder; here is its SHA-256.
        tokens:
          - subject: developer
            tenant: default
            groups: []
            tokenSHA256: \(StaticTokenFile.tokenSHA256(token))

        """
    }

    private func gatewayYAML(kms kmsYAML: String, unitKey: VerificationKey, auditKey: VerificationKey) -> String {
        """
        # The gateway: hkms serve --config hkms.yaml. docs/configuration.md describes every key.
        # Relative paths start at this file's folder.
        installation:
          name: \(quoted(installation))
          gateway: gateway-1
          tenant: default
          sealedKey: installation.sealed
        development: \(dev)
        memory:
          lock: \(dev ? "preferred" : "required")
        listen:
        \(listenYAML("gateway-1", host: gatewayHost, port: gatewayPort, mutual: false))
        kms:
          provider: \(kms)
          key: \(quoted(key))
        \(kmsYAML)
        storage:
          objects: objects
          metadata: metadata.sqlite
        identity:
        \(identityYAML)
        policy:
          file: policy.yaml
        audit:
          directory: audit
          publicKeys: [\(auditKey.hex)]
        units:
          - name: unit-1
            url: \(unitURL)
            publicKey: \(unitKey.hex)
        \(!usesTLS ? "" : """
                tls:
                  authorities: tls/ca.pem
                  certificate: tls/gateway-1.pem
                  key: tls/gateway-1.key
            """)

        """
    }

    private func evaluatorYAML(manifestKey: VerificationKey, requestKey: VerificationKey) -> String {
        let models = model.map { quoted(URL(fileURLWithPath: $0).path) }.joined(separator: ", ")
        return """
            # The evaluation unit: hkms-evaluator serve --config evaluator.yaml
            unit:
              name: unit-1
              signingKeyFile: unit-signing.key
            listen:
            \(listenYAML("unit-1", host: unitHost, port: unitPort, mutual: true))
            development: \(dev)
            memory:
              lock: \(dev ? "preferred" : "required")
            # Files of models and circuits, at least one.
            models: [\(models)]
            gateways:
              - name: gateway-1
                requestKey: \(requestKey.hex)
            \(!usesTLS ? "" : "    certificateName: \(gatewayName)")
            manifestKeys:
              - \(manifestKey.hex)

            """
    }
}
