job "platform-warden" {
  region      = "eu"
  namespace   = "observability"
  datacenters = ["fra1", "ams1"]
  type        = "service"

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
        destination = "secrets/consul_token.env"
        env         = true
        perms       = "0400"
        data        = "{{ with nomadVar \"nomad/jobs/platform-warden\" }}CONSUL_HTTP_TOKEN={{ .consul_token }}{{ end }}"
      }

      template {
        destination = "secrets/nomad_token.env"
        env         = true
        perms       = "0400"
        data        = "{{ with nomadVar \"nomad/jobs/platform-warden\" }}NOMAD_TOKEN={{ .nomad_token }}{{ end }}"
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
