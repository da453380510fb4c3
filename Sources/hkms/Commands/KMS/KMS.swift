import ArgumentParser

/// `hkms kms`
struct KMS: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Change the root of trust: rotate the KMS's key, or move to another KMS.",
        discussion: """
            The trusted KMS seals one seed for each key set, and the HE keys follow from it. These commands seal seeds \
            anew, beside the running gateway: HE keys, ciphertexts and jobs stay as they are, and no key set is ever \
            without a seal that opens. They need the gateway's configuration and its rights.

            All but status log in to the KMSs of the configuration. Where the gateway's credential works once \
            (secretIDWrapped), give them a configuration that names another, with the same stores.

              hkms kms status --config hkms.yaml
              hkms kms rotate --config hkms.yaml --dry-run
              hkms kms migrate --config hkms.yaml --from software --to openbao

            docs/kms/rotation.md has the whole way, with what to do before and after.
            """,
        subcommands: [Status.self, Rotate.self, Migrate.self, Cancel.self])
}

/// What all of them need.
struct KMSCommandOptions: ParsableArguments {
    @Option(name: .long, help: ArgumentHelp("The gateway's configuration.", valueName: "file")) var config: String
    @Flag(name: .long, help: "Write JSON.") var json = false
    @Flag(
        name: .long,
        help: "Use up a KMS's credential that works once (secretIDWrapped): the gateway needs another then.")
    var unwrap = false
}

/// How a job is run.
struct RewrapOptions: ParsableArguments {
    @Flag(name: .long, help: "Only count what would be done.") var dryRun = false
    @Option(name: .long, help: ArgumentHelp("Key sets a second, at most.", valueName: "number")) var rate: Double?
    @Option(name: .long, help: ArgumentHelp("Key sets at a time, 1 to 64.", valueName: "number")) var width = 8

    func validate() throws {
        guard (1...64).contains(width) else { throw ValidationError("--width is 1 to 64.") }
        guard rate.map({ $0 > 0 && $0 <= 1e6 }) ?? true else {
            throw ValidationError("--rate is more than 0 and at most 1000000.")
        }
    }
}
