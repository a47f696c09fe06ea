job "platform-alert-sink" {
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

  group "alert-sink" {
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
        static = 8099
      }
    }

    task "alert-sink" {
      kill_timeout = "10s"

      service {
        name     = "alert-sink"
        provider = "consul"
        port     = "http"
        tags     = ["obsctl.scrape"]

        meta {
          obsctl_stack    = "platform"
          nomad_namespace = "observability"
          obsctl_proof    = "${obsctl_proof}"
        }

        check {
          type     = "http"
          path     = "/health"
          interval = "10s"
          timeout  = "2s"
        }
      }

      # Any job may register a service of this name. The proof is of this allocation at this address, and only who has
      # the secret can make it: Alertmanager sends to no other. It is a variable because meta can be made of nothing else.
      template {
        destination = "secrets/proof.env"
        env         = true
        perms       = "0400"
        uid         = 10001
        gid         = 10001
        data        = <<-EOT
        {{- with nomadVar "nomad/jobs/platform-alert-sink" -}}
        obsctl_proof={{ printf "%s %s %s" (env "NOMAD_ALLOC_ID") (env "NOMAD_ADDR_http") .delivery_key | sha256Hex }}
        {{- end }}
        EOT
      }

      template {
        destination = "secrets/delivery_key"
        change_mode = "noop"
        perms       = "0400"
        uid         = 10001
        gid         = 10001
        data        = "{{ with nomadVar \"nomad/jobs/platform-alert-sink\" }}{{ index . \"delivery_key\" }}{{ end }}"
      }

      driver = "docker"

      config {
        image        = "obsctl/obsctl:0.1.0"
        network_mode = "host"
        work_dir     = "/"
        args = [
          "serve",
          "alert-sink",
          "--bind=${NOMAD_IP_http}",
          "--port=${NOMAD_PORT_http}",
          "--data-dir=${NOMAD_ALLOC_DIR}/data",
          "--heartbeat=60.0",
          "--secret-file=${NOMAD_SECRETS_DIR}/delivery_key",
          "--stack=platform",
        ]
      }

      resources {
        cpu    = 100
        memory = 128
      }
    }
  }
}
