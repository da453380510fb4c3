import ServiceKit

extension Policy {
    /// Stands for the file of ``builtIn`` in decisions.
    public static let builtInName = "built-in"

    /// What counts where no policy is configured: what ownership alone lets principals do.
    /// docs/policies/default.yaml is the same file.
    public static let builtIn: Policy = {
        do {
            return try Policy(text: builtInText, name: builtInName)
        } catch { preconditionFailure("the built-in policy is a policy: \(error)") }
    }()

    /// The file of ``builtIn``.
    public static let builtInText = """
        # What counts where no policy is configured: what ownership alone lets principals do.
        version: 1
        rules:
          # A key set of a group is every member's, as if it were the member's own.
          - name: owners-and-groups
            effect: allow
            who: {anyone: true}
            actions:
              - register
              - show
              - public-key.fetch
              - evaluation-keys.fetch
              - encrypt
              - evaluate
              - decrypt.job
              - predict
              - destroy
            keySets: {own: true, myGroups: true}

          # Where the gateway's configuration and the key set's own policy grant it too.
          - name: decrypt-any-by-the-owner
            effect: allow
            who: {anyone: true}
            actions: [decrypt.any]
            keySets: {own: true}

          # Which models there are is told to whoever has a token, also one of another tenant.
          - name: models
            effect: allow
            who: {anyone: true}
            actions: [models.list]
            acrossTenants: true

        """
}
