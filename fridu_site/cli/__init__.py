"""The command line `fridu`: the seed's verbs, through the services the panel uses."""
