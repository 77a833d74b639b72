import APIClient
import APIModel
import ArgumentParser

/// What a shell offers for a word: names that the server has at this moment. Nothing where it does not answer at once.
enum Completions {
  /// Ids of VMs, and of leases, which stand for their VMs.
  static var vms: CompletionKind {
    names { client in try client.vms().map(\.id) + client.leases().map(\.lease) }
  }

  /// Ids of leases.
  static var leases: CompletionKind { names { client in try client.leases().map(\.lease) } }

  /// Names of pools.
  static var pools: CompletionKind { names { client in try client.pools().map(\.name) } }

  /// Names of images.
  static var images: CompletionKind { names { client in try client.images().map(\.name) } }

  /// Names of images that were uploaded.
  static var storedImages: CompletionKind {
    names { client in try client.images().filter { $0.manifest != nil }.map(\.name) }
  }

  /// Digests of blobs.
  static var blobs: CompletionKind { names { client in try client.blobs().map(\.digest) } }

  /// Ids of keys.
  static var keys: CompletionKind { names { client in try client.keys().map(\.id) } }

  /// Names and ids of everything.
  static var everything: CompletionKind {
    names { client in
      try client.vms().map(\.id) + client.leases().map(\.lease) + client.pools().map(\.name)
        + client.images().map(\.name)
    }
  }

  /// Names of contexts.
  static var contexts: CompletionKind {
    .custom { _, _, _ in (try? ContextFile.read()).map { $0.contexts.keys.sorted() } ?? [] }
  }

  private static func names(_ list: @escaping @Sendable (VMPoolClient) throws -> [String]) -> CompletionKind {
    .custom { words, _, _ in
      // The words are the whole command line: the server that it names is the one to ask.
      var options = ["--timeout", "2s"]
      let named = ["--server", "--context", "--key-file", "--cacert", "--cert", "--client-key"]
      for (option, value) in zip(words, words.dropFirst()) where named.contains(option) {
        options += [option, value]
      }
      guard let server = try? ServerOptions.parse(options), let client = try? server.client() else { return [] }
      return (try? list(client)) ?? []
    }
  }
}
