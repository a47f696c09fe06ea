job "obs-warden" {
  region      = "global"
  namespace   = "default"
  datacenters = ["*"]
  type        = "service"

  # The dead man's handle of drills: nothing else on a busy node may take its place.
  priority = 80

  group "warden" {
    count = 2

    constraint {
      operator = "distinct_hosts"
      value    = "true"
    }

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
        obsctl_stack    = "obs"
        nomad_namespace = "default"
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

      identity {
        env = true # NOMAD_TOKEN
      }

      template {
        destination = "secrets/recipe_key.env"
        env         = true
        perms       = "0400"
        data        = "{{ with nomadVar \"nomad/jobs/obs-warden\" }}WARDEN_RECIPE_KEY={{ .recipe_key }}{{ end }}"
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
          "--stack=obs",
          "--consul=http://127.0.0.1:8500",
          "--nomad=http://127.0.0.1:4646",
          "--nomad-socket=${NOMAD_SECRETS_DIR}/api.sock",
          "--namespace=default",
        ]
      }

      resources {
        cpu    = 100
        memory = 128
      }
    }
  }
}
