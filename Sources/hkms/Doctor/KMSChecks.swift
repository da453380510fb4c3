import KeyManagement
import SecretMemory

/// The checks of one trusted KMS: each kind of call that a gateway makes, on values that are thrown away. No key is
/// made or changed.
struct KMSChecks: Sendable {
    let checks: [DoctorCheck]
    /// Behind the check ``keyCheck``.
    let kms = DoctorResult<any TrustedKMS>()
    let keyCheck: String
    /// Of its errors.
    let remedy: KMSRemedy
    private let settings: KMSSettings

    private static let secretBytes = 32

    /// - Parameters:
    ///   - name: of its checks: `kms`.
    ///   - settings: of this KMS alone.
    ///   - context: under which nothing of value is sealed.
    ///   - other: another one.
    ///   - isCurrent: whether it seals what is new.
    ///   - usesUp: whether a credential that works once may be used.
    init(
        _ name: String, _ settings: KMSSettings, context: SealingContext, other: SealingContext, isCurrent: Bool,
        usesUp: Bool
    ) {
        let (connect, health, key) = ("\(name).connect", "\(name).health", "\(name).key")
        let (kms, keyName) = (kms, settings.key)
        keyCheck = key
        self.settings = settings
        let remedy = KMSRemedy(settings)
        self.remedy = remedy
        let calls = [
            DoctorCheck(connect, fix: "Correct the section \(settings.section), and the files that it names.") {
                if let file = settings.connection.usedUpFile, !usesUp {
                    return .skipped(
                        "\(file) works once, and the gateway needs it: hkms doctor --unwrap uses it up; then put "
                            + "another there")
                }
                let connected = try await settings.connect()
                kms.set(connected)
                guard let file = settings.connection.usedUpFile else {
                    return .ok("\(connected.provider), settings and credential are read")
                }
                return .warning(
                    "\(connected.provider); --unwrap has spent the token in \(file): no gateway can start with it",
                    fix: "Put another there before hkms serve starts.")
            },
            DoctorCheck(health, after: [connect], fix: "See that the KMS answers.") {
                try await kms.get().checkHealth()
                return .ok("it answers and takes the credential")
            },
            DoctorCheck(key, after: [health], fix: "Correct \(settings.section).key.") {
                Self.finding(of: try await kms.get().describeKey(keyName))
            },
            DoctorCheck("\(name).capabilities", after: [connect], fix: "Choose another KMS.") {
                Self.finding(of: try kms.get().capabilities)
            },
            DoctorCheck("\(name).random", after: [health], fix: "Let the credential ask for random bytes.") {
                let random = try await kms.get().random(count: Self.secretBytes)
                return random.count == Self.secretBytes
                    ? .ok("\(Self.secretBytes) random bytes")
                    : .failed("\(random.count) bytes where \(Self.secretBytes) were asked", fix: "Check the KMS.")
            },
            DoctorCheck("\(name).seal", after: [key], fix: "Let the credential seal and open with the key.") {
                try await Self.sealed(kms.get(), keyName, context, other)
            },
            DoctorCheck("\(name).dataKey", after: [key], fix: "Let the credential make data keys.") {
                try await Self.dataKey(kms.get(), keyName, context, other)
            },
            DoctorCheck("\(name).rewrap", after: [key], fix: "Let the credential rewrap with the key.") {
                try await Self.rewrapped(kms.get(), keyName, context)
            },
            DoctorCheck("\(name).privileges", after: [health], fix: "Let the credential ask for its own rights.") {
                try await Self.privileges(kms.get(), keyName)
            },
        ]
        let delegation = DelegationChecks.checks(
            name, settings, kms, healthCheck: health, keyCheck: key, context: context, isCurrent: isCurrent)
        checks = (calls + delegation).map { $0.explained(by: remedy) }
    }

    /// Behind ``keyCheck``.
    func configured() throws -> ConfiguredKMS {
        ConfiguredKMS(name: settings.name, try kms.get(), key: settings.key, placement: settings.placement)
    }

    private static func finding(of key: KMSKeyDescription) -> DoctorFinding {
        guard key.purpose == .sealing else {
            return .failed(
                "\(key.name) is a key that signs (\(key.type))", fix: "Name a symmetric key under kms.key.")
        }
        switch key.state {
        case .enabled: break
        case .disabled:
            return .failed("\(key.name) is disabled", fix: "Have it enabled in the KMS, or name another.")
        case .pendingDeletion:
            return .failed(
                "\(key.name) is going to be deleted, and what it sealed with it",
                fix: "Cancel the deletion in the KMS at once, then find out who asked for it.")
        }
        let versions =
            key.minimumVersion > 1
            ? "versions \(key.minimumVersion) to \(key.latestVersion)" : "latest version \(key.latestVersion)"
        return .ok("\(key.name), \(key.type), \(versions)")
    }

    private static func finding(of capabilities: KMSCapabilities) -> DoctorFinding {
        let modes = capabilities.sealing == .secrets ? "modes direct and envelope" : "mode envelope alone"
        let binding =
            switch capabilities.contextBinding {
            case .associatedData: "context bound as associated data"
            case .derivedKey: "context bound by derivation"
            case .hashInside: "context bound by its hash inside"
            case .none: "context not bound"
            }
        let rewrap = capabilities.nativeRewrap ? "rewraps by itself" : "rewrapped by the gateway"
        let detail = "\(modes), \(binding), \(rewrap), secrets of at most \(capabilities.maximumPlaintextBytes) bytes"
        guard capabilities.contextBinding != .none else {
            return .failed(detail, fix: "Choose a KMS that binds a context: a sealed seed could be moved to others.")
        }
        guard !capabilities.developmentOnly else {
            return .warning(
                detail + "; a development keystore, whose passphrase lies beside it",
                fix: "Make a keystore of your own, or use another KMS, before real data comes.")
        }
        return .ok(detail)
    }

    private static func sealed(
        _ kms: any TrustedKMS, _ key: KMSKeyName, _ context: SealingContext, _ other: SealingContext
    ) async throws -> DoctorFinding {
        guard kms.capabilities.sealing == .secrets else {
            return .skipped("this KMS seals data keys alone")
        }
        let secret = try SecretBytes(randomCount: secretBytes)
        let blob = try await kms.seal(secret, under: key, context: context, as: .service)
        let opened = try await kms.open(blob, under: key, context: context, as: .service)
        guard opened.equals(secret) else { throw changed }
        try await refuse(blob, kms, key, other)
        return .ok("sealed and opened, refused in another context")
    }

    private static func dataKey(
        _ kms: any TrustedKMS, _ key: KMSKeyName, _ context: SealingContext, _ other: SealingContext
    ) async throws -> DoctorFinding {
        let dataKey = try await kms.generateDataKey(under: key, context: context, as: .service)
        let sealed = dataKey.sealed
        let opened = try await kms.open(sealed, under: key, context: context, as: .service)
        guard opened.equals(dataKey.plaintext) else { throw changed }
        try await refuse(sealed, kms, key, other)
        return .ok("made and opened, refused in another context")
    }

    private static func rewrapped(
        _ kms: any TrustedKMS, _ key: KMSKeyName, _ context: SealingContext
    ) async throws -> DoctorFinding {
        let dataKey = try await kms.generateDataKey(under: key, context: context, as: .service)
        let blob: KMSSealedBlob
        do throws(KMSError) {
            blob = try await kms.rewrap(dataKey.sealed, under: key, context: context, as: .service)
        } catch {
            // Key sets work without: what is missed is that they follow a rotated key.
            guard case .denied = error else { throw error }
            return .warning(
                error.description, fix: "Allow rewrap, so that sealed seeds can follow when the KMS's key is rotated.")
        }
        let opened = try await kms.open(blob, under: key, context: context, as: .service)
        guard opened.equals(dataKey.plaintext) else { throw changed }
        return .ok("rewrapped and opened")
    }

    private static let changed = DoctorFailure(
        "what was opened is not what was sealed", fix: "Use no such KMS: seeds would be lost.")

    /// A KMS that opens under another context would let a seed be moved to another owner.
    private static func refuse(
        _ blob: KMSSealedBlob, _ kms: any TrustedKMS, _ key: KMSKeyName, _ other: SealingContext
    ) async throws {
        do throws(KMSError) {
            _ = try await kms.open(blob, under: key, context: other, as: .service)
        } catch {
            guard case .cannotOpen = error else { throw error }
            return
        }
        throw DoctorFailure(
            "it opens in another context than the one that was sealed under",
            fix: "Use a key that derives or authenticates its context (for Transit: derived=true).")
    }

    private static func privileges(_ kms: any TrustedKMS, _ key: KMSKeyName) async throws -> DoctorFinding {
        var asked = kms
        while let wrapper = asked as? any ForwardingKMS { asked = wrapper.inner }
        guard let report = asked as? any KMSPrivilegeReport else {
            return .skipped("\(kms.provider) does not tell what the credential may do")
        }
        let excess: Set<KMSPrivilege>
        do throws(KMSError) {
            excess = try await report.excessPrivileges(on: key)
        } catch {
            guard case .denied = error else { throw error }
            return .skipped("the credential may not ask what it may do")
        }
        guard !excess.isEmpty else { return .ok("the credential may no more than a gateway needs") }
        let texts = KMSPrivilege.allCases.filter(excess.contains).map(Self.text)
        return .warning(
            "the credential may " + texts.joined(separator: ", "),
            fix: "Give the gateway a credential with the policy of docs/configuration.md (Least-privilege policy), "
                + "and keep this one for administrators.")
    }

    private static func text(_ privilege: KMSPrivilege) -> String {
        switch privilege {
        case .everything: "do everything"
        case .createKeys: "make keys"
        case .rotateKey: "rotate the key"
        case .destroyVersions: "destroy versions of the key"
        case .destroyKey: "destroy the key"
        case .exportKey: "take the key out"
        case .actForPrincipals: "use users' own keys without them"
        case .administer: "change keys' settings or policies"
        }
    }
}
