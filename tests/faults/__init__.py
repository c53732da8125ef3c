"""What roompool promises when something dies: a trial of each fault. `./dev chaos` makes as many as are wanted."""
