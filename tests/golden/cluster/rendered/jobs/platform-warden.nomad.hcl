job "platform-warden" {
  region      = "eu"
  namespace   = "observability"
  datacenters = ["fra1", "ams1"]
  type        = "service"
  node_pool   = "infrastructure"

  constraint {
    attribute = "${attr.cpu.arch}"
    operator  = "="
    value     = "amd64"
  }

  # The dead man's handle of drills: nothing else on a busy node may take its place.
  priority = 80

  group "warden" {
    update {
      max_parallel      = 1
      health_check      = "checks"
      min_healthy_time  = "10s"
      healthy_deadline  = "5m"
      progress_deadline = "10m"
      auto_revert       = true
    }

    restart {
      attempts = 3
      interval = "2m"
      delay    = "10s"
      mode     = "fail"
    }

    reschedule {
      delay          = "5s"
      delay_function = "exponential"
      max_delay      = "1m"
      unlimited      = true
    }

    network {
      mode = "host"
      port "http" {
        static = 8098
      }
    }

    service {
      name     = "warden"
      provider = "consul"
      port     = "http"
      tags     = ["obsctl.scrape"]

      meta {
        obsctl_stack    = "platform"
        nomad_namespace = "observability"
      }

      check {
        type     = "http"
        path     = "/health"
        interval = "10s"
        timeout  = "2s"
      }
    }

    task "warden" {
      kill_timeout = "10s"

      template {
        destination = "local/consul-ca.pem"
        data        = <<-EOT
        -----BEGIN CERTIFICATE-----
        MIIC8TCCApagAwIBAgIRAPoCpMqX3l/n0WNnxRsCECwwCgYIKoZIzj0EAwIwgbkx
        CzAJBgNVBAYTAlVTMQswCQYDVQQIEwJDQTEWMBQGA1UEBxMNU2FuIEZyYW5jaXNj
        bzEaMBgGA1UECRMRMTAxIFNlY29uZCBTdHJlZXQxDjAMBgNVBBETBTk0MTA1MRcw
        FQYDVQQKEw5IYXNoaUNvcnAgSW5jLjFAMD4GA1UEAxM3Q29uc3VsIEFnZW50IENB
        IDMzMjMyMDcyNTkwNjIxMDkzNTU1MjYzMzg3MTI3ODE0MjUyNTQ4NDAgFw0yNjEx
        MjUyMTAzMTRaGA8yMTI2MTEwMTIxMDMxNFowgbkxCzAJBgNVBAYTAlVTMQswCQYD
        VQQIEwJDQTEWMBQGA1UEBxMNU2FuIEZyYW5jaXNjbzEaMBgGA1UECRMRMTAxIFNl
        Y29uZCBTdHJlZXQxDjAMBgNVBBETBTk0MTA1MRcwFQYDVQQKEw5IYXNoaUNvcnAg
        SW5jLjFAMD4GA1UEAxM3Q29uc3VsIEFnZW50IENBIDMzMjMyMDcyNTkwNjIxMDkz
        NTU1MjYzMzg3MTI3ODE0MjUyNTQ4NDBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IA
        BNFO9hWxvfhlAmqJHobM6VnxkcwElZLVa3VbJArKc0wNcpYQrZFynczarmxT0/bt
        j4XaHodYhTweFYNdzlpljaGjezB5MA4GA1UdDwEB/wQEAwIBhjAPBgNVHRMBAf8E
        BTADAQH/MCkGA1UdDgQiBCCIeBqF+gVQornABMgcHMbefEkVXtpNoMkDXFUQYuqd
        RTArBgNVHSMEJDAigCCIeBqF+gVQornABMgcHMbefEkVXtpNoMkDXFUQYuqdRTAK
        BggqhkjOPQQDAgNJADBGAiEA1eobHEIM0gN+lKU1881K4w03hDUUuQRNDBc0o6Dw
        VaECIQC3MVjk83Hqlhs1bx79Q2zjjxt9YkOtHqdAMkLkm69sYg==
        -----END CERTIFICATE-----
        EOT
      }

template {
        destination = "local/consul-tls.env"
        env         = true
        data        = <<-EOT
        CONSUL_CACERT={{ env "NOMAD_TASK_DIR" }}/consul-ca.pem
        EOT
      }

      template {
        destination = "local/nomad-ca.pem"
        data        = <<-EOT
        -----BEGIN CERTIFICATE-----
        MIIC8TCCApagAwIBAgIRAPoCpMqX3l/n0WNnxRsCECwwCgYIKoZIzj0EAwIwgbkx
        CzAJBgNVBAYTAlVTMQswCQYDVQQIEwJDQTEWMBQGA1UEBxMNU2FuIEZyYW5jaXNj
        bzEaMBgGA1UECRMRMTAxIFNlY29uZCBTdHJlZXQxDjAMBgNVBBETBTk0MTA1MRcw
        FQYDVQQKEw5IYXNoaUNvcnAgSW5jLjFAMD4GA1UEAxM3Q29uc3VsIEFnZW50IENB
        IDMzMjMyMDcyNTkwNjIxMDkzNTU1MjYzMzg3MTI3ODE0MjUyNTQ4NDAgFw0yNjEx
        MjUyMTAzMTRaGA8yMTI2MTEwMTIxMDMxNFowgbkxCzAJBgNVBAYTAlVTMQswCQYD
        VQQIEwJDQTEWMBQGA1UEBxMNU2FuIEZyYW5jaXNjbzEaMBgGA1UECRMRMTAxIFNl
        Y29uZCBTdHJlZXQxDjAMBgNVBBETBTk0MTA1MRcwFQYDVQQKEw5IYXNoaUNvcnAg
        SW5jLjFAMD4GA1UEAxM3Q29uc3VsIEFnZW50IENBIDMzMjMyMDcyNTkwNjIxMDkz
        NTU1MjYzMzg3MTI3ODE0MjUyNTQ4NDBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IA
        BNFO9hWxvfhlAmqJHobM6VnxkcwElZLVa3VbJArKc0wNcpYQrZFynczarmxT0/bt
        j4XaHodYhTweFYNdzlpljaGjezB5MA4GA1UdDwEB/wQEAwIBhjAPBgNVHRMBAf8E
        BTADAQH/MCkGA1UdDgQiBCCIeBqF+gVQornABMgcHMbefEkVXtpNoMkDXFUQYuqd
        RTArBgNVHSMEJDAigCCIeBqF+gVQornABMgcHMbefEkVXtpNoMkDXFUQYuqdRTAK
        BggqhkjOPQQDAgNJADBGAiEA1eobHEIM0gN+lKU1881K4w03hDUUuQRNDBc0o6Dw
        VaECIQC3MVjk83Hqlhs1bx79Q2zjjxt9YkOtHqdAMkLkm69sYg==
        -----END CERTIFICATE-----
        EOT
      }

template {
        destination = "local/nomad-tls.env"
        env         = true
        data        = <<-EOT
        NOMAD_CACERT={{ env "NOMAD_TASK_DIR" }}/nomad-ca.pem
        EOT
      }

      identity {
        env = true # NOMAD_TOKEN
      }

      template {
        destination = "secrets/recipe_key.env"
        env         = true
        perms       = "0400"
        data        = "{{ with nomadVar \"nomad/jobs/platform-warden\" }}WARDEN_RECIPE_KEY={{ .recipe_key }}{{ end }}"
      }

      driver = "docker"

      config {
        image        = "obsctl/obsctl:0.1.0"
        network_mode = "host"
        work_dir     = "/"
        args = [
          "serve",
          "warden",
          "--bind=${NOMAD_IP_http}",
          "--port=${NOMAD_PORT_http}",
          "--stack=platform",
          "--consul=https://consul.example.internal:8501",
          "--nomad=https://nomad.example.internal:4646",
          "--nomad-socket=${NOMAD_SECRETS_DIR}/api.sock",
          "--namespace=observability",
        ]
      }

      resources {
        cpu    = 100
        memory = 128
      }
    }
  }
}
