import ArgumentParser

/// `hkms keysets`
struct KeySets: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "keysets",
        abstract: "List, show and destroy key sets; fetch their public keys.",
        discussion: """
            A key set is one secret key with its public and evaluation keys. The secret key is nowhere: it is \
            derived from the sealed seed whenever it is needed.

              hkms keysets list
              hkms keysets show ID
            """,
        subcommands: [List.self, Show.self, Destroy.self, PublicKey.self, EvaluationKey.self])
}
